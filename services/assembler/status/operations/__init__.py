"""Operations that the JSON endpoints and the forms share: each takes the backend, who asks, and validated input."""

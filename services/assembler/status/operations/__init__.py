"""Operations that the JSON endpoints and the forms share: each takes the backend, the identity, and validated input."""

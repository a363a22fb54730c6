// Says that scripts run, so that styles may show what only works with them; warns before what cannot be undone.

document.documentElement.classList.add("js");

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

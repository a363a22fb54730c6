// Marks that scripts run, so that styles show what needs them; asks before a command that cannot be undone.

document.documentElement.classList.add("js");

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

// Uploads a file by drag and drop or by button, with progress and a cancel button; then opens the plan.

const form = document.getElementById("drop");
const input = document.getElementById("file");
const choose = document.getElementById("choose");
const box = document.getElementById("uploading");
const words = document.getElementById("uploading-words");
const bar = document.getElementById("uploading-bar");
const stop = document.getElementById("uploading-stop");
const problem = document.getElementById("uploading-error");
let request = null;

// Styles hide the field, and the button replaces it: focus must not stop where nobody sees it.
input.tabIndex = -1;
choose.addEventListener("click", () => input.click());
input.addEventListener("change", () => input.files.length && send(input.files[0]));
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (input.files.length) send(input.files[0]);
});
stop.addEventListener("click", () => request?.abort());

let depth = 0;
document.addEventListener("dragenter", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  depth += 1;
  form.classList.add("over");
});
document.addEventListener("dragleave", () => {
  depth = Math.max(0, depth - 1);
  if (!depth) form.classList.remove("over");
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  form.classList.remove("over");
  const files = [...event.dataTransfer.files];
  if (files.length > 1) fail("Drop one file at a time.");
  else if (files.length) send(files[0]);
});

function send(file) {
  if (request) return;
  problem.hidden = true;
  if (file.size === 0) return fail(`“${file.name}” is empty.`);
  if (file.size > Number(form.dataset.maxBytes)) return fail(`“${file.name}” exceeds the size limit of this service.`);
  request = new XMLHttpRequest();
  request.open("POST", form.getAttribute("action"));
  request.setRequestHeader("Accept", "application/json");
  request.responseType = "json";
  request.upload.onprogress = ({ loaded, total }) => {
    bar.value = total ? loaded / total : 0;
    const percent = total ? Math.floor((100 * loaded) / total) : 0;
    words.textContent = percent < 100 ? `Uploading “${file.name}”: ${percent} %` : "Stored. Reading the file…";
  };
  request.onload = () => {
    const { status, response } = request;
    request = null;
    if (status === 202) location.assign(`/uploads/${response.id}/check`);
    else fail(response?.detail ?? `The upload was refused (${status}).`);
  };
  request.onerror = () => fail("The upload was interrupted. Check the connection and try again.");
  request.onabort = () => fail("The upload was cancelled. Nothing was looked up.");
  words.textContent = `Uploading “${file.name}”…`;
  bar.value = 0;
  box.hidden = false;
  choose.hidden = true;
  stop.focus();
  const body = new FormData();
  body.append("file", file, file.name);
  request.send(body);
}

function fail(sentence) {
  request = null;
  box.hidden = true;
  choose.hidden = false;
  problem.textContent = sentence;
  problem.hidden = false;
  input.value = "";
  choose.focus();
}

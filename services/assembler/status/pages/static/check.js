// While the file is read, asks for its state and shows the plan as soon as it is there.

const waiting = document.querySelector("[data-check]");
const ASK_AGAIN_MS = 600;
const LEAVING_MS = 5000;
let leavingUntil = 0;

// Whoever has clicked a link goes there: a reload now would keep them here.
addEventListener("beforeunload", () => {
  leavingUntil = Date.now() + LEAVING_MS;
});

async function look() {
  try {
    const answer = await fetch(waiting.dataset.check, { cache: "no-store" });
    if (answer.status === 404) location.assign("/");
    if (answer.ok) {
      const { state } = await answer.json();
      if (state !== "pending" && state !== "checking" && Date.now() > leavingUntil) {
        location.reload();
        return;
      }
    }
  } catch {
    // The connection may come back; the next look tells.
  }
  setTimeout(look, ASK_AGAIN_MS);
}

if (waiting) look();

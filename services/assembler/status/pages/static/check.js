// Polls the state while the file is read, and shows the plan when it is ready.

const waiting = document.querySelector("[data-check]");
const ASK_AGAIN_MS = 600;
const LEAVING_MS = 5000;
let leavingUntil = 0;

// After a click on a link, a reload would keep the person on this page.
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
    // The connection may come back; the next poll shows it.
  }
  setTimeout(look, ASK_AGAIN_MS);
}

if (waiting) look();

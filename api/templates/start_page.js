document.addEventListener("click", async event => {
  const button = event.target.closest("[data-copy]")
  if (!button) return
  await navigator.clipboard.writeText(button.dataset.copy)
  const label = button.textContent
  button.textContent = "Copied"
  setTimeout(() => { button.textContent = label === "Copied" ? "Copy" : label }, 1500)
})

let shownReady = document.querySelector("main").dataset.ready

async function renew() {
  const live = document.getElementById("live")
  try {
    const answer = await fetch("/start/live")
    if (!answer.ok) throw new Error(answer.status)
    live.innerHTML = await answer.text()
    live.classList.remove("old")
    if (live.firstElementChild.dataset.ready !== shownReady) location.reload()
  } catch {
    live.classList.add("old")
  }
}

function showAges() {
  const words = new Intl.RelativeTimeFormat("en", {numeric: "auto"})
  for (const element of document.querySelectorAll("time[datetime]")) {
    const seconds = Math.round((new Date(element.dateTime) - Date.now()) / 1000)
    const size = Math.abs(seconds)
    const [amount, unit] = size < 60 ? [seconds, "second"] : size < 3600 ? [seconds / 60, "minute"] : [seconds / 3600, "hour"]
    element.textContent = words.format(Math.round(amount), unit)
  }
}

showAges()
setInterval(async () => { if (!document.hidden) { await renew(); showAges() } }, 5000)

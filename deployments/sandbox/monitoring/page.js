// The page of the dashboard: builds its panels once, and fetches and draws those that are in view.

import {draw, element} from "/charts.js"

const PANELS_EVERY = 30_000 // milliseconds, as the dashboard's `refresh`
const ALERTS_EVERY = 15_000
const chosen = new URLSearchParams(sessionStorage.getItem("chosen") ?? "") // kept when the page is loaded again
const find = id => document.getElementById(id)
const views = new Map() // of each panel's element: the panel, its figure, its last data, and whether it is in view

async function read(path) {
  const answer = await fetch(path)
  const content = await answer.json()
  if (!answer.ok) throw new Error(content.detail ?? `${answer.status}`)
  return content
}

function showTrouble(text) {
  find("trouble").textContent = text
  find("trouble").hidden = !text
  find("dashboard").classList.toggle("old", Boolean(text))
  if (!text) find("updated").textContent = `Updated at ${new Date().toLocaleTimeString([], {hourCycle: "h23", timeZoneName: "short"})}.`
}

const troubleOf = error => error instanceof TypeError ? "This page's server does not answer: is the stack stopped?" : error.message

const tip = {
  watch(drawing, data, place, entries) {
    drawing.addEventListener("pointermove", event => {
      const box = drawing.getBoundingClientRect()
      const share = (event.clientX - box.left - place.x(0)) / (place.x(place.count - 1) - place.x(0))
      const index = Math.max(0, Math.min(place.count - 1, Math.round(share * (place.count - 1))))
      const rows = entries(index).map(([name, value, color]) => {
        const swatch = element("span", {className: "swatch"})
        swatch.style.background = color
        return element("div", {}, element("span", {}, swatch, name), element("b", {}, value))
      })
      const at = new Date((data.start + index * data.step) * 1000).toLocaleString([], {dateStyle: "medium", timeStyle: "long", hourCycle: "h23"})
      const label = find("tip")
      label.replaceChildren(element("p", {className: "quiet"}, at), ...(rows.length ? rows : ["no data"]))
      label.hidden = false
      const left = event.clientX + 14 + label.offsetWidth > innerWidth ? event.clientX - 14 - label.offsetWidth : event.clientX + 14
      label.style.left = `${Math.max(4, left) + scrollX}px`
      label.style.top = `${event.clientY + 14 + scrollY}px`
    })
    for (const name of ["pointerleave", "pointercancel"]) drawing.addEventListener(name, () => { find("tip").hidden = true })
  },
}

function redraw(view) {
  if (view.data) draw(view.panel, view.data, view.figure, tip)
}

async function refresh(view) {
  view.wanted = Symbol()
  view.due = false // scrolling asks for nothing twice
  const {wanted} = view
  const query = new URLSearchParams({seconds: chosen.get("seconds"), ...(chosen.get("shop") ? {shop: chosen.get("shop")} : {})})
  const data = await read(`/panels/${view.panel.id}?${query}`).catch(error => { view.due = true; throw error })
  if (view.wanted !== wanted) return // another range was chosen meanwhile
  view.data = data
  redraw(view)
}

async function refreshVisible() {
  if (document.hidden) return
  try {
    await Promise.all([...views.values()].filter(view => view.isVisible && view.due).map(refresh))
    showTrouble("")
  } catch (error) {
    showTrouble(troubleOf(error))
  }
}

function refreshAll() {
  for (const view of views.values()) view.due = true
  return refreshVisible()
}

function age(since) {
  const minutes = Math.round((Date.now() - new Date(since)) / 60_000)
  return minutes < 1 ? "less than a minute" : minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`
}

function alertItem(alert) {
  const state = alert.state === "firing" ? `${alert.severity}, for ${age(alert.since)}` : `pending (${alert.severity}), for ${age(alert.since)}`
  const runbook = element("a", {href: alert.runbook}, "what to do")
  return element("li", {className: `card ${alert.severity} ${alert.state}`},
    element("b", {}, alert.name), alert.summary, " ", element("span", {className: "quiet"}, `(${state})`),
    element("p", {className: "quiet"}, alert.description, " ", runbook))
}

async function refreshAlerts() {
  if (document.hidden) return
  try {
    const {alerts, rules, broken} = await read("/alerts")
    const firing = alerts.filter(alert => alert.state === "firing").length
    document.title = firing ? `(${firing}) WishCraft monitoring` : "WishCraft monitoring"
    const items = alerts.map(alertItem)
    if (!firing) items.unshift(element("li", {className: "card none"}, `No alert fires. Prometheus evaluates ${rules} rules every 15 seconds.`))
    for (const text of broken) items.push(element("li", {className: "card page"}, element("b", {}, "Rule fails"), text))
    find("alerts").replaceChildren(...items)
  } catch (error) {
    showTrouble(troubleOf(error))
  }
}

const watched = new IntersectionObserver(entries => {
  for (const entry of entries) views.get(entry.target).isVisible = entry.isIntersecting
  refreshVisible()
}, {rootMargin: "400px"})
const resized = new ResizeObserver(entries => {
  for (const entry of entries) {
    const view = views.get(entry.target.parentElement)
    if (view.width !== entry.contentRect.width) redraw(view)
    view.width = entry.contentRect.width
  }
})

function buildPanel(panel) {
  const links = panel.runbooks.map(url => element("a", {href: url}, url.split("/").at(-1).replace(".md", "")))
  const note = element("p", {className: "note", hidden: true}, panel.description)
  if (links.length) note.append(" Runbook: ", ...links.flatMap(link => [link, " "]))
  const about = element("button", {type: "button", ariaLabel: `About ${panel.title}`, ariaExpanded: "false"}, "?")
  about.addEventListener("click", () => { note.hidden = !note.hidden; about.ariaExpanded = String(!note.hidden) })
  const figure = element("div", {className: "figure"})
  const card = element("article", {className: `card panel ${panel.kind}`, ariaLabel: panel.title},
    element("div", {className: "head"}, element("h3", {}, panel.title), about), note, figure)
  card.dataset.panel = panel.id
  if (panel.kind !== "stat") card.style.gridColumn = `span ${panel.width}`
  views.set(card, {panel, figure, data: null, due: true, isVisible: false, width: 0})
  watched.observe(card)
  resized.observe(figure)
  return card
}

function buildRow(row, number) {
  const stats = row.panels.filter(panel => panel.kind === "stat")
  const others = row.panels.filter(panel => panel.kind !== "stat")
  const grid = element("div", {className: "grid"})
  if (stats.length) grid.append(element("div", {className: "stats"}, ...stats.map(buildPanel)))
  grid.append(...others.map(buildPanel))
  find("rows").append(element("a", {href: `#row${number}`}, row.title))
  return element("section", {}, element("h2", {id: `row${number}`}, row.title), grid)
}

function choose(name, value) {
  chosen.set(name, value)
  sessionStorage.setItem("chosen", chosen)
  for (const button of find("ranges").children) button.ariaPressed = String(button.value === chosen.get("seconds"))
  return refreshAll()
}

async function build() {
  const {rows, ranges, links} = await read("/dashboard")
  for (const [name, seconds] of Object.entries(ranges)) {
    const button = element("button", {type: "button", value: seconds}, name)
    button.addEventListener("click", () => choose("seconds", button.value))
    find("ranges").append(button)
  }
  find("links").append(element("a", {href: links.prometheus}, "Prometheus"), element("a", {href: links.alertmanager}, "Alertmanager"))
  find("dashboard").append(...rows.map(buildRow))
  await choose("seconds", chosen.get("seconds") ?? "3600")
}

async function listShops() {
  const shops = await read("/shops")
  find("shop").append(...shops.map(shop => element("option", {value: shop}, shop)))
  find("shop").value = chosen.get("shop") ?? ""
  find("shop").hidden = shops.length < 2
  find("shop").addEventListener("change", () => choose("shop", find("shop").value))
}

try {
  await build()
  await listShops()
} catch (error) {
  showTrouble(troubleOf(error))
}
await refreshAlerts()
setInterval(refreshAll, PANELS_EVERY)
setInterval(refreshAlerts, ALERTS_EVERY)
document.addEventListener("visibilitychange", () => { refreshAll(); refreshAlerts() })

// Keeps the page up to date in place, and announces when the state of a pool changes.
{
const main = document.querySelector("main")
const at = document.querySelector("#at")
const status = document.querySelector("[role]")
const [now, button] = document.querySelectorAll(".do > *")
let on = true, turn = 0, timer, lost = ""

const say = words => {
	if (status.textContent !== words) status.textContent = words
}

// Makes the shown element like the new one, and touches only what differs, so that
// focus, scrolling and selection stay as they are. An element with an ID stays the
// same one if it moves among its siblings.
const update = (shown, came) => {
	for (const {name} of [...shown.attributes]) {
		if (!came.hasAttribute(name)) shown.removeAttribute(name)
	}
	for (const {name, value} of came.attributes) {
		if (shown.getAttribute(name) !== value) shown.setAttribute(name, value)
	}
	const known = new Map([...shown.children].filter(e => e.id).map(e => [e.id, e]))
	let next = shown.firstChild
	for (const node of [...came.childNodes]) {
		const same = node.id ? known.get(node.id) : next?.id ? null : next
		if (same?.nodeName !== node.nodeName) {
			shown.insertBefore(node, next)
			continue
		}
		if (same === next) next = next.nextSibling
		else shown.insertBefore(same, next)
		if (node.nodeType === Node.ELEMENT_NODE) update(same, node)
		else if (same.data !== node.data) same.data = node.data
	}
	while (next) {
		const rest = next
		next = next.nextSibling
		rest.remove()
	}
}

// Describes which pools have changed their state; empty if none has.
const changes = came => {
	const states = root => new Map([...root.querySelectorAll("section")].map(s => [s.dataset.name, s.dataset.state]))
	const before = states(main), after = states(came), words = []
	for (const [name, state] of after) {
		if (before.get(name) !== state) words.push(name + " is " + (state === "maintenance" ? "in maintenance" : state))
	}
	for (const name of before.keys()) {
		if (!after.has(name)) words.push(name + " is gone")
	}
	return words.join(", ")
}

const show = page => {
	const came = page.querySelector("main")
	const when = page.querySelector("#at")
	const time = when.querySelector("time").textContent
	const what = changes(came)
	if (what) say(time + ": " + what + ".")
	else if (lost) say(time + ": Caddy answers again.")
	lost = ""
	const focused = document.activeElement
	update(main, came)
	update(at, when)
	if (focused !== document.activeElement && focused.isConnected) focused.focus({preventScroll: true})
	document.title = page.title
}

const failed = why => {
	if (lost !== why) say(why + " What you see is how it was at " + at.querySelector("time").textContent + ".")
	lost = why
	document.title = "(old) " + document.title.replace("(old) ", "")
}

const ask = async () => {
	clearTimeout(timer)
	const mine = ++turn
	let why = "Caddy cannot be reached.", page
	try {
		const answer = await fetch(location.origin + location.pathname + location.search, {
			headers: {Accept: "text/html"},
			cache: "no-store",
			signal: AbortSignal.timeout(1e4)
		})
		page = new DOMParser().parseFromString(await answer.text(), "text/html")
		why = answer.ok && page.querySelector("#at") ? "" : "Caddy answers " + answer.status + " in place of this page."
	} catch {
	}
	if (mine !== turn) return
	if (why) failed(why)
	else show(page)
	wait()
}

const wait = () => {
	clearTimeout(timer)
	if (on) timer = setTimeout(ask, document.hidden ? 6e4 : 5e3)
}

button.onclick = () => {
	on = !on
	turn++
	button.textContent = on ? "Pause" : "Resume"
	if (on) ask()
	else clearTimeout(timer)
}
now.onclick = event => {
	event.preventDefault()
	ask()
}
document.onvisibilitychange = () => {
	if (on && !document.hidden) ask()
}
button.hidden = false
wait()
}

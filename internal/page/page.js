// Asks whether the site is back, and opens it when it is: once, and only if
// opening it sends nothing again.
{
const main = document.querySelector("main")
const status = main.querySelector("[role]")
const button = main.querySelector("button")
const text = main.dataset
const isForm = "form" in text
let on = true, opened = 0, misses = 0, found, timer

// How often this tab has opened the site of late only to meet this page
// again. If it can't remember that, it assumes the worst.
try {
	const [count, time] = (sessionStorage.healthpool || "").split(",")
	if (Date.now() - time < 6e5) opened = +count
} catch {
	opened = 9
}

const growing = n => Math.min(30, 2 ** n)

const jitter = seconds => seconds * (.75 + Math.random() / 2)

const wait = seconds => {
	clearTimeout(timer)
	timer = setTimeout(ask, Math.min(seconds, 3600) * (document.hidden ? 4e3 : 1e3))
}

const missed = () => on && !found && wait(jitter(growing(++misses)))

const soon = () => on && !found && !document.hidden && wait(Math.random() / 2)

const ask = () => {
	// In case that no answer ever comes.
	wait(30)
	// Cookies go along as by default, to this site only: they may be what the
	// way to the same upstreams depends on.
	fetch(location.href.split("#")[0], {
		method: "HEAD",
		headers: {"Recovery-Poll": text.poll},
		cache: "no-store",
		redirect: "manual"
	}).then(answer => {
		const after = +answer.headers.get("Retry-After")
		if (!on || found) return
		if (answer.status < 502 || answer.status > 504) {
			// 204 is the word of the server; another status is the site itself.
			found = true
			clearTimeout(timer)
			timer = setTimeout(open, (after || 0) * 1e3)
			if (!isForm) status.textContent = text.back
		} else if (after > 0) {
			misses = 0
			wait(after)
		} else missed()
	}, missed)
}

const open = () => {
	if (isForm) {
		document.title = status.textContent = text.back
		button.hidden = true
		main.querySelector(".go").hidden = on = false
	} else {
		try {
			sessionStorage.healthpool = [opened + 1, Date.now()]
		} catch {
		}
		location.reload()
	}
}

button.onclick = () => {
	on = !on
	found = false
	clearTimeout(timer)
	button.textContent = on ? text.stop : text.resume
	status.textContent = on ? text.watching : text.stopped
	soon()
}
document.onvisibilitychange = ononline = soon
button.hidden = false
status.textContent = text.watching
wait(jitter(opened ? growing(opened) : Math.min(text.after || 2, 4)))
}

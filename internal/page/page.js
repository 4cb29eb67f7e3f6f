// Polls until the site is back and then reloads the page: once, and only if that does not send
// a form again.
{
const main = document.querySelector("main")
const status = main.querySelector("[role]")
const when = main.querySelector(".when")
const stop = main.querySelector("button:not(.go)")
const resend = main.querySelector("button.go")
const text = main.dataset
const isForm = "form" in text
let on = true, opened = 0, misses = 0, found, timer

// How often this tab has reloaded within the last ten minutes only to get this page again.
// Without storage, it assumes the worst.
try {
	const [count, time] = (sessionStorage.healthpool || "").split(",")
	if (Date.now() - time < 6e5) opened = +count
} catch {
	opened = 9
}

const growing = count => Math.min(30, 2 ** count)

const jitter = seconds => seconds * (.75 + Math.random() / 2)

const say = words => {
	status.textContent = words
	if (when) when.hidden = words
}

const wait = seconds => {
	clearTimeout(timer)
	timer = setTimeout(ask, Math.min(seconds, 3600) * (document.hidden ? 4e3 : 1e3))
}

const missed = () => on && !found && wait(jitter(growing(++misses)))

const soon = () => on && !found && !document.hidden && wait(Math.random() / 2)

const ask = () => {
	// In case no answer ever comes.
	wait(30)
	// By default, fetch sends cookies to this site only. The proxy may need them to choose the
	// same upstreams as for the page.
	fetch(location.href.split("#")[0], {
		method: "HEAD",
		headers: {"Recovery-Poll": text.poll},
		cache: "no-store",
		redirect: "manual"
	}).then(answer => {
		const after = +answer.headers.get("Retry-After")
		if (!on || found) return
		if (answer.status < 502 || answer.status > 504) {
			// 204 is the server's answer to the poll; any other status comes from the site itself.
			found = true
			clearTimeout(timer)
			timer = setTimeout(back, (after || 0) * 1e3)
		} else if (after > 0) {
			misses = 0
			wait(after)
		} else missed()
	}, missed)
}

// Time for a screen reader to announce it.
const back = () => {
	say(text.back)
	timer = setTimeout(open, 5e2)
}

const open = () => {
	if (isForm) {
		document.title = text.back
		on = false
		// Nothing was sent: the visitor may have the browser send the form again.
		if (resend) {
			resend.hidden = false
			resend.onclick = () => location.reload()
		}
		stop.textContent = text.resume
	} else {
		try {
			sessionStorage.healthpool = [opened + 1, Date.now()]
		} catch {
		}
		location.reload()
	}
}

stop.onclick = () => {
	on = !on
	found = false
	clearTimeout(timer)
	stop.textContent = on ? text.stop : text.resume
	say(on ? text.watching : "")
	soon()
}
document.onvisibilitychange = ononline = soon
stop.hidden = false
say(text.watching)
wait(jitter(opened ? growing(opened) : Math.min(text.after || 2, 4)))
}

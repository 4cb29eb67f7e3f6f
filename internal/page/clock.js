// Shows a time as the visitor's own clock does.
for (const time of document.querySelectorAll("main>p time"))
	time.textContent = new Date(time.dateTime).toLocaleString(document.documentElement.lang, {dateStyle: "long", timeStyle: "short"})

package worker

import (
	"net/http"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/calcache"
)

// apiPrefix is where answers are plain JSON.
const apiPrefix = "/api/"

// errNoCalendar: no migration has made the class that the service keeps its copies in.
var errNoCalendar = &refusal{status: http.StatusServiceUnavailable, text: "Calendar service not available: " +
	"no migration has made the class " + calcache.ClassName}

// MissingClass returns the class without which there is neither MCP nor /api/, if no
// migration has made it, and else "".
func (w *Worker) MissingClass() string {
	if w.calendar == nil {
		return calcache.ClassName
	}
	return ""
}

// openCalendar makes the calendar service, once for everything that asks it.
func (w *Worker) openCalendar() {
	w.news.log, w.news.deliver = w.log, w.tell
	cache := w.rt.Namespace(calcache.ClassName)
	if cache == nil {
		return
	}
	w.calendar = calendar.New(w.Account, cache, w.Settings(), &calendar.Options{
		TTL: w.opts.TTL, TimeZone: w.opts.TimeZone, OnChange: w.calendarChanged, Logger: w.log,
		AddressHelp: "Who runs this server can set them with the command: perdure users set NAME --address MAIL (NAME is me where there are no users).",
	})
	w.openMCP()
}

// serveCalendars answers GET /api/calendars.
func (w *Worker) serveCalendars(rw http.ResponseWriter, r *http.Request) {
	w.asUser(rw, r, &w.mcpDoor, func(rw http.ResponseWriter, r *http.Request, u accounts.User) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			rw.Header().Set("Allow", "GET, HEAD")
			fail(rw, http.StatusMethodNotAllowed, "Method not allowed")
			return
		}
		if w.calendar == nil {
			w.refuse(rw, r, errNoCalendar)
			return
		}
		list, err := w.calendar.User(u.ID).ListCalendars(r.Context())
		if err != nil {
			w.refuse(rw, r, err)
			return
		}
		if list.Calendars == nil {
			list.Calendars = []calendar.Calendar{}
		}
		rw.Header().Set("Cache-Control", "no-store") // it is one user's
		writeJSON(rw, http.StatusOK, map[string]any{"calendars": list.Calendars})
	})
}

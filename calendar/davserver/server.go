package davserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/perdure/perdure/durable"
)

// Names of the classes.
const (
	HomeClass     = "Home"
	CalendarClass = "Calendar"
)

// Classes returns the classes that a runtime needs for [New]: Home, one object per
// user id, and Calendar, one per calendar under a random id. They speak to this
// package only.
func Classes() []durable.Class {
	opts := &durable.ClassOptions{Errors: sentinelErrors}
	return []durable.Class{
		durable.NewClass(HomeClass, newHome, opts),
		durable.NewClass(CalendarClass, newCalendar, opts),
	}
}

// Options configures a Server. Nil and the zero value mean the defaults.
type Options struct {
	// Prefix is the path under which the server answers. Default: "/dav/".
	Prefix string

	// Logger receives what no client can be told. Nil discards.
	Logger *slog.Logger

	MaxBody      int // bytes of an XML body; default 4 MiB
	MaxObject    int // bytes of a calendar object; default and most 1 MiB
	MaxCalendars int // of one user; default 1,000
	MaxHrefs     int // in one calendar-multiget; default 10,000
	MaxResults   int // objects that one calendar-query may have to look at, and instances that it may expand to; default 50,000

	// OnChange, if set, is called after a change is durable, on the goroutine of its
	// request and before its answer. It must not wait for that answer.
	OnChange func(Change)
}

// Change says what a request has changed.
type Change struct {
	UserID   string
	Calendar string // the calendar's name in its path
	Object   string // the object's; "" for a calendar that was made, changed or deleted
}

// Server answers CalDAV requests out of durable objects. It is an [http.Handler]
// and may be used by any goroutine.
//
// Whose calendars a request means is in its context: see [WithUser]. A request
// without a user is answered with 403; asking for a password is the task of
// whatever stands in front.
type Server struct {
	opts      Options
	log       *slog.Logger
	homes     *durable.Namespace
	calendars *durable.Namespace
}

// New returns a server on a runtime that has the [Classes]; it panics if it has not.
func New(rt *durable.Runtime, opts *Options) *Server {
	s := &Server{homes: rt.Namespace(HomeClass), calendars: rt.Namespace(CalendarClass)}
	if s.homes == nil || s.calendars == nil {
		panic("davserver: the runtime lacks the classes Home and Calendar")
	}
	if opts != nil {
		s.opts = *opts
	}
	o := &s.opts
	if o.Prefix == "" {
		o.Prefix = "/dav/"
	}
	o.Prefix = "/" + strings.Trim(o.Prefix, "/") + "/"
	if o.Prefix == "//" {
		o.Prefix = "/"
	}
	setDefault(&o.MaxBody, 4<<20)
	setDefault(&o.MaxObject, maxObjectBytes)
	o.MaxObject = min(o.MaxObject, maxObjectBytes)
	setDefault(&o.MaxCalendars, 1000)
	setDefault(&o.MaxHrefs, 10_000)
	setDefault(&o.MaxResults, 50_000)
	if s.log = o.Logger; s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

func setDefault(field *int, value int) {
	if *field <= 0 {
		*field = value
	}
}

// request is a request with whom and what it is about.
type request struct {
	*http.Request
	user User
	target
}

// ServeHTTP answers requests below the prefix and to /.well-known/caldav (RFC 6764,
// section 5), which it redirects to the prefix.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/.well-known/caldav" {
		w.Header().Set("Location", s.opts.Prefix)
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusMovedPermanently)
		return
	}
	user, ok := UserFromContext(r.Context())
	if !ok {
		s.fail(w, r, status(http.StatusForbidden, "The request comes from nobody."))
		return
	}
	t, ok := s.parsePath(r.URL.EscapedPath())
	if !ok || t.user != "" && t.user != user.ID && t.user != user.Name {
		s.fail(w, r, s.elsewhere(r))
		return
	}
	w.Header().Set("DAV", "1, 3, calendar-access, extended-mkcol")
	if err := s.serve(w, &request{r, user, t}); err != nil {
		s.fail(w, r, err)
	}
}

// elsewhere says why a request to a path that cannot be is refused.
func (s *Server) elsewhere(r *http.Request) error {
	switch r.Method {
	case "MKCALENDAR":
		return refuse(cal("calendar-collection-location-ok"), "There can be no calendar here.")
	case "MKCOL", http.MethodPut:
		return status(http.StatusForbidden, "Nothing can be made here.")
	}
	return status(http.StatusNotFound, "There is nothing here.")
}

func (s *Server) serve(w http.ResponseWriter, r *request) error {
	switch r.Method {
	case http.MethodOptions:
		w.Header().Set("Allow", allow(r.kind))
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		return nil
	case "PROPFIND":
		return s.propfind(w, r)
	case "PROPPATCH":
		return s.proppatch(w, r)
	case "MKCALENDAR", "MKCOL":
		return s.makeCalendar(w, r)
	case "REPORT":
		return s.report(w, r)
	case http.MethodGet, http.MethodHead:
		return s.get(w, r)
	case http.MethodPut:
		return s.put(w, r)
	case http.MethodDelete:
		return s.delete(w, r)
	case http.MethodPost, http.MethodPatch, "COPY", "MOVE", "LOCK", "UNLOCK", "ACL", "TRACE", "CONNECT":
		return notAllowed()
	}
	return status(http.StatusNotImplemented, "The method is not known.")
}

// allow lists the methods that a kind of resource knows.
func allow(k kind) string {
	switch k {
	case objectKind:
		return "OPTIONS, GET, HEAD, PUT, DELETE, PROPFIND, PROPPATCH"
	case calendarKind:
		return "OPTIONS, DELETE, PROPFIND, PROPPATCH, REPORT, MKCALENDAR, MKCOL"
	}
	return "OPTIONS, PROPFIND, PROPPATCH, REPORT"
}

// home returns the stub of the user's Home.
func (s *Server) home(u User) *durable.Stub { return s.homes.Named(u.ID) }

// calendar finds a calendar of the user. It returns errNoCalendar.
func (s *Server) calendar(ctx context.Context, u User, name string) (*durable.Stub, error) {
	id, err := durable.Call(ctx, s.home(u), (*home).Find, name)
	if err != nil {
		return nil, err
	}
	return s.calendarByID(id)
}

func (s *Server) calendarByID(text string) (*durable.Stub, error) {
	id, err := s.calendars.ParseID(text)
	if err != nil {
		return nil, fmt.Errorf("calendar id: %w", err)
	}
	return s.calendars.Get(id)
}

func (s *Server) changed(u User, calendar, object string) {
	if s.opts.OnChange != nil {
		s.opts.OnChange(Change{UserID: u.ID, Calendar: calendar, Object: object})
	}
}

// readXML reads the request's body; nil if it is empty.
func (s *Server) readXML(w http.ResponseWriter, r *request) (*element, error) {
	data, err := s.readBody(w, r, s.opts.MaxBody)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	return parseXML(data)
}

func (s *Server) readBody(w http.ResponseWriter, r *request, limit int) ([]byte, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, status(http.StatusUnsupportedMediaType, "The body must not be encoded.")
	}
	if r.Body == nil {
		return nil, nil
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	var tooLarge *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLarge) {
		return nil, status(http.StatusBadRequest, "The body cannot be read.")
	}
	return data, err
}

// depth returns the Depth header: 0, 1, or -1 for infinity. Without one it is def.
func depth(r *request, def int) (int, error) {
	switch strings.ToLower(strings.TrimSpace(r.Header.Get("Depth"))) {
	case "":
		return def, nil
	case "0":
		return 0, nil
	case "1":
		return 1, nil
	case "infinity":
		return -1, nil
	}
	return 0, status(http.StatusBadRequest, "The Depth header is neither 0 nor 1 nor infinity.")
}

// prefersMinimal reports whether a client wants no word of what is missing (RFC 8144, section 2.1).
func prefersMinimal(r *http.Request) bool {
	for _, v := range r.Header["Prefer"] {
		for p := range strings.SplitSeq(v, ",") {
			name, value, _ := strings.Cut(p, "=")
			value, _, _ = strings.Cut(value, ";")
			if strings.EqualFold(strings.TrimSpace(name), "return") && strings.Trim(strings.TrimSpace(value), `"`) == "minimal" {
				return true
			}
		}
	}
	return r.Header.Get("Brief") == "t"
}

// isCalendarType reports whether a Content-Type is, or may be, text/calendar.
func isCalendarType(header string) bool {
	if header == "" {
		return true
	}
	t, _, err := mime.ParseMediaType(header)
	return t == "text/calendar" && (err == nil || errors.Is(err, mime.ErrInvalidMediaParameter))
}

// hrefPath returns the escaped path of an href, which may be a whole URL.
func hrefPath(href string) (string, bool) {
	u, err := url.Parse(strings.TrimSpace(href))
	if err != nil || u.Opaque != "" {
		return "", false
	}
	return u.EscapedPath(), true
}

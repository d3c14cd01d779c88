// Package worker is the application's front: one [http.Handler] that lets requests in,
// finds out whose they are, and serves what the application has to offer:
//
//	/health                       how the server is; to anybody
//	/mcp, /sse, /messages         a user's calendars as MCP tools and resources
//	/api/calendars                a user's calendars as JSON
//	/dav/, /.well-known/caldav    a user's calendars on this server, to CalDAV programs
//	/objects/…                    the durable objects, to the operator
package worker

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/calmcp"
	"github.com/perdure/perdure/calendar/davserver"
	"github.com/perdure/perdure/calendar/sessions"
	"github.com/perdure/perdure/durable"
)

// Classes are the classes that configuration files may bind.
func Classes() []durable.Class {
	return []durable.Class{sessions.Class(), calcache.Class()}
}

// BuiltIn are the classes that the worker itself needs. Configuration files can't bind,
// make or delete them. The link is for one Worker: it joins them with that.
func BuiltIn(link *calmcp.Link) []durable.Class {
	return slices.Concat(accounts.Classes(), davserver.Classes(), calmcp.Classes(link))
}

// CheckVars reports what is wrong with the classes' variables, by name.
// lookup returns "" for a variable that is not set.
func CheckVars(lookup func(name string) string) error {
	if err := sessions.CheckVars(lookup); err != nil {
		return err
	}
	return calcache.CheckVars(lookup)
}

// LookupTTL returns how long copies of calendars elsewhere are believed: CACHE_TTL, the
// lifetime of what anybody puts into CalendarCache. It is for [Options].
func LookupTTL(lookup func(name string) string) (time.Duration, error) {
	return calcache.LookupTTL(lookup)
}

// cacheBindings are two names for one thing: the seed's wrangler.toml says the
// first, its Env type the second. Each is accepted where the other is bound.
var cacheBindings = [2]string{"CALENDARS", "CALENDAR_CACHE"}

// WithAliases returns bindings, binding name to class name, and the other name
// of the calendar cache.
func WithAliases(bindings map[string]string) map[string]string {
	all := make(map[string]string, len(bindings)+1)
	for name, class := range bindings {
		all[name] = class
	}
	for i, name := range cacheBindings {
		other := cacheBindings[1-i]
		if _, taken := bindings[other]; bindings[name] == calcache.ClassName && !taken {
			all[other] = calcache.ClassName
		}
	}
	return all
}

// Options configures a Worker. Nil and the zero value mean the defaults.
type Options struct {
	// Link is what [BuiltIn] was called with. It is needed.
	Link *calmcp.Link

	// Bindings are the names under which /objects/ shows namespaces.
	Bindings []string

	// Token, if not empty, must come with requests to /objects/ as a bearer token. While
	// there are no users it is also the single user's. Once there are, /objects/ is shut
	// without one.
	Token string

	// Rate is how many requests a second a user may send; see [DefaultRate]. 0 means that,
	// a negative number that they are not counted.
	Rate float64

	// Key seals users' credentials. Default: one in memory, so that they are lost with it.
	Key *accounts.Key

	// Elsewhere, if not nil, calls [Worker.Expel] in all other processes that serve the
	// same data, and returns when that is done everywhere.
	Elsewhere func(ctx context.Context, user string) error

	// DAV serves calendars at /dav/.
	DAV bool

	// Nextcloud, if not empty, is where the single user's calendars are.
	Nextcloud accounts.Credential

	// CalDAV is for clients of calendar servers elsewhere, but for their Credential.
	CalDAV caldav.Options

	// TTL is how long a copy of a calendar elsewhere is believed without asking its server;
	// 0 means the default of package calendar.
	TTL time.Duration

	// TimeZone is that of users and calendars who have none; UTC if nil.
	TimeZone *time.Location

	// KeepAlive is how often something is sent on a stream that is quiet; 0 means the
	// default of package calmcp.
	KeepAlive time.Duration

	// Logger receives what no client can be told. Nil discards.
	Logger *slog.Logger

	// AllowedHosts are values of the Host header that are let in besides those of the
	// loopback interface; neither case nor port counts. With a Token, addresses are, too.
	AllowedHosts []string

	// AllowedOrigins are those of web pages, such as https://app.example, that may send
	// requests. Those to MCP and /api/ may also read the answers.
	AllowedOrigins []string

	Name        string // of the server, in /health and MCP; default "nextcloud-calendar-server"
	Version     string
	Environment string // default "development"
}

// Worker serves the application's paths. It may be used by any goroutine.
type Worker struct {
	rt         *durable.Runtime
	opts       Options
	log        *slog.Logger
	objects    map[string]*durable.Namespace
	accounts   *accounts.Accounts
	dav        *davserver.Server // for clients
	ownDAV     *davserver.Server // for the Service: it says itself what it changed
	calendar   *calendar.Service // nil if there is no class CalendarCache
	surface    *calmcp.Surface   // nil with it
	mcp        *calmcp.Handler   // nil with it
	news       news
	servers    servers
	loans      loans
	visits     visits
	guard      guard
	heldLog    sparing
	davDoor    door
	mcpDoor    door
	running    running
	leaving    atomic.Bool
	noProof    sync.Once       // it was said why there are none
	streams    context.Context // of those of MCP: ends with Drain
	endStreams context.CancelFunc
}

// calendarTimeout is how long a calendar server elsewhere may take for an answer: MCP's
// clients wait a minute for theirs, and are to hear why there is none.
const calendarTimeout = 45 * time.Second

// New returns the front of rt, which must have the classes of [BuiltIn]; others may be
// missing. It is to be closed before rt is: see [Worker.Drain].
func New(rt *durable.Runtime, opts *Options) *Worker {
	w := &Worker{rt: rt, objects: make(map[string]*durable.Namespace)}
	if opts != nil {
		w.opts = *opts
	}
	if w.opts.Name == "" {
		w.opts.Name = "nextcloud-calendar-server"
	}
	if w.opts.Environment == "" {
		w.opts.Environment = "development"
	}
	if w.log = w.opts.Logger; w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if w.opts.CalDAV.Logger == nil {
		w.opts.CalDAV.Logger = w.log
	}
	if w.opts.CalDAV.Timeout == 0 {
		w.opts.CalDAV.Timeout = calendarTimeout
	}
	w.streams, w.endStreams = context.WithCancel(context.Background())
	key := w.opts.Key
	if key == nil {
		key = accounts.MemoryKey()
	}
	if w.opts.Rate == 0 {
		w.opts.Rate = DefaultRate
	}
	w.mcpDoor = door{limits: newLimits(w.opts.Rate)}
	w.davDoor = door{limits: newLimits(w.opts.Rate * davFactor), basic: true}
	w.accounts = accounts.New(rt, key)
	w.dav = davserver.New(rt, &davserver.Options{Prefix: davPrefix, Logger: w.log, OnChange: w.davChanged})
	w.ownDAV = davserver.New(rt, &davserver.Options{Prefix: davPrefix, Logger: w.log})
	w.openCalendar()
	for _, b := range w.opts.Bindings {
		if n := rt.Namespace(b); n != nil {
			w.objects[b] = n
		}
	}
	return w
}

// ServeHTTP does not use [http.ServeMux], which cleans paths: what objects see of
// the path is what was sent.
func (w *Worker) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	path := rawPath(r)
	if path == "/health" {
		w.health(rw, r)
		return
	}
	if !w.running.enter() {
		w.ending(rw, r)
		return
	}
	defer w.running.leave()
	origin, err := w.checkSource(r)
	if hasCORS(path) && cors(rw, r, origin) {
		return
	}
	if err != nil {
		w.refuse(rw, r, err)
		return
	}
	rest, objects := strings.CutPrefix(path, "/objects/")
	switch {
	case objects:
		w.gateway(rw, r, rest)
	case path == mcpPath, path == ssePath, path == messagesPath:
		w.serveMCP(rw, r, path)
	case path == apiPrefix+"calendars":
		w.serveCalendars(rw, r)
	case w.opts.DAV && path == wellKnown:
		w.dav.ServeHTTP(rw, r)
	case w.opts.DAV && strings.HasPrefix(path+"/", davPrefix):
		w.serveDAV(rw, r)
	default:
		fail(rw, http.StatusNotFound, "Not found")
	}
}

// Health is the answer to GET /health.
type Health struct {
	Status      string `json:"status"` // "ok", "draining" or "broken"
	Server      string `json:"server"`
	Version     string `json:"version"`
	Environment string `json:"environment"`
	Timestamp   string `json:"timestamp"` // RFC 3339, UTC, milliseconds
}

func (w *Worker) health(rw http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		rw.Header().Set("Allow", "GET, HEAD")
		fail(rw, http.StatusMethodNotAllowed, "Method not allowed")
		return
	}
	h := Health{
		Status: "ok", Server: w.opts.Name, Version: w.opts.Version, Environment: w.opts.Environment,
		Timestamp: time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
	}
	code := http.StatusOK
	select {
	case <-w.rt.Draining():
		code, h.Status = http.StatusServiceUnavailable, "draining"
		if w.rt.Err() != nil {
			h.Status = "broken"
		}
	default:
		if w.running.isEnding() || w.leaving.Load() {
			code, h.Status = http.StatusServiceUnavailable, "draining"
		}
	}
	writeJSON(rw, code, h)
}

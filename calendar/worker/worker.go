// Package worker is the application's front: one [http.Handler] that lets requests in,
// answers /health, passes /objects/ on to the durable objects, and serves each user's
// calendars at /dav/.
package worker

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/accounts"
	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/caldav"
	"github.com/perdure/perdure/calendar/davserver"
	"github.com/perdure/perdure/calendar/sessions"
	"github.com/perdure/perdure/durable"
)

// Classes are the classes that configuration files may bind.
func Classes() []durable.Class {
	return []durable.Class{sessions.Class(), calcache.Class()}
}

// BuiltIn are the classes that the worker itself needs. Configuration files can't bind,
// make or delete them.
func BuiltIn() []durable.Class { return slices.Concat(accounts.Classes(), davserver.Classes()) }

// CheckVars reports what is wrong with the classes' variables, by name.
// lookup returns "" for a variable that is not set.
func CheckVars(lookup func(name string) string) error {
	if err := sessions.CheckVars(lookup); err != nil {
		return err
	}
	return calcache.CheckVars(lookup)
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
	// Bindings are the names under which /objects/ shows namespaces.
	Bindings []string

	// Token, if not empty, must come with requests to /objects/ as a bearer token. While
	// there are no users it is also the single user's. Once there are, /objects/ is shut
	// without one.
	Token string

	// Key seals users' credentials. Default: one in memory, so that they are lost with it.
	Key *accounts.Key

	// DAV serves calendars at /dav/.
	DAV bool

	// Nextcloud, if not empty, is where the single user's calendars are.
	Nextcloud accounts.Credential

	// CalDAV is for clients of calendar servers elsewhere, but for their Credential.
	CalDAV caldav.Options

	// Logger receives what no client can be told. Nil discards.
	Logger *slog.Logger

	// AllowedHosts are values of the Host header that are let in besides those of the
	// loopback interface; neither case nor port counts. With a Token every host is.
	AllowedHosts []string

	Name        string // of the server, in /health; default "nextcloud-calendar-server"
	Version     string
	Environment string // default "development"
}

// Worker serves the application's paths. It may be used by any goroutine.
type Worker struct {
	rt       *durable.Runtime
	opts     Options
	log      *slog.Logger
	objects  map[string]*durable.Namespace
	accounts *accounts.Accounts
	dav      *davserver.Server
	servers  servers
	visits   visits
	guard    guard
}

// New returns the front of rt, which must have the classes of [BuiltIn]; others may be missing.
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
	key := w.opts.Key
	if key == nil {
		key = accounts.MemoryKey()
	}
	w.accounts = accounts.New(rt, key)
	w.dav = davserver.New(rt, &davserver.Options{Prefix: davPrefix, Logger: w.log})
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
	if err := w.checkOrigin(r); err != nil {
		fail(rw, http.StatusForbidden, err.Error())
		return
	}
	if rest, ok := strings.CutPrefix(path, "/objects/"); ok {
		w.gateway(rw, r, rest)
		return
	}
	if w.opts.DAV {
		switch {
		case path == wellKnown:
			w.dav.ServeHTTP(rw, r)
			return
		case strings.HasPrefix(path+"/", davPrefix):
			w.calendars(rw, r)
			return
		}
	}
	fail(rw, http.StatusNotFound, "Not found")
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
	}
	writeJSON(rw, code, h)
}

func fail(rw http.ResponseWriter, code int, text string) {
	writeJSON(rw, code, map[string]string{"error": text})
}

func writeJSON(rw http.ResponseWriter, code int, v any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(code)
	json.NewEncoder(rw).Encode(v)
}

package calcache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/internal/expiry"
	"github.com/perdure/perdure/calendar/internal/jsonvalue"
	"github.com/perdure/perdure/calendar/internal/wire"
	"github.com/perdure/perdure/durable"
)

// ClassName is the name of the class.
const ClassName = "CalendarCache"

// Variables that hold the lifetimes of entries: Go durations of at least a
// millisecond, the default if empty.
const (
	TTLVar            = "CACHE_TTL"       // calendars and events: [DefaultTTL]
	PreferencesTTLVar = "PREFERENCES_TTL" // preferences: [DefaultPreferencesTTL]
)

// How long entries live.
const (
	DefaultTTL            = 5 * time.Minute
	DefaultPreferencesTTL = 24 * time.Hour
)

// Class returns the class. With a variable that is no lifetime its objects can't
// be made: see [CheckVars].
func Class() durable.Class { return durable.NewClass(ClassName, newCache, nil) }

// CheckVars reports what is wrong with the class's variables, by name, so that a
// server can refuse to start. lookup returns "" for a variable that is not set.
func CheckVars(lookup func(name string) string) error {
	_, err := lookupTTLs(lookup)
	return err
}

// LookupTTL returns how long calendars and events live by the variables, for who keeps
// copies of the same for as long.
func LookupTTL(lookup func(name string) string) (time.Duration, error) {
	ttl, err := expiry.LookupTTL(lookup, TTLVar, DefaultTTL)
	return time.Duration(ttl), err
}

func lookupTTLs(lookup func(string) string) (map[kind]expiry.TTL, error) {
	ttl, err := expiry.LookupTTL(lookup, TTLVar, DefaultTTL)
	if err != nil {
		return nil, err
	}
	preferencesTTL, err := expiry.LookupTTL(lookup, PreferencesTTLVar, DefaultPreferencesTTL)
	if err != nil {
		return nil, err
	}
	return map[kind]expiry.TTL{calendars: ttl, events: ttl, preferences: preferencesTTL}, nil
}

// Cache is an object of the class: an [http.Handler] with an alarm. The runtime
// makes it. It keeps nothing in memory: the runtime caches storage.
type Cache struct {
	state *durable.State
	ttls  map[kind]expiry.TTL
	index *expiry.Index
}

// record is an entry as it is stored. All times are Unix milliseconds.
type record struct {
	Kind kind            `cbor:"1,keyasint"`
	Put  int64           `cbor:"2,keyasint"`
	Due  int64           `cbor:"3,keyasint"` // its place in the expiry index
	Data jsonvalue.Value `cbor:"4,keyasint"`
}

func newCache(ctx context.Context, st *durable.State) (*Cache, error) {
	ttls, err := lookupTTLs(st.Var)
	if err != nil {
		return nil, err
	}
	c := &Cache{state: st, ttls: ttls, index: expiry.NewIndex(st)}
	return c, c.index.Revive(ctx, c.now())
}

// ServeHTTP answers the requests that the package comment lists, and any other with 404.
func (c *Cache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user := wire.Param(r, "userId")
	if user == "" {
		user = "default"
	}
	path := wire.Path(r)
	if path == "/clear" && r.Method == http.MethodDelete {
		c.clear(w, r, user)
		return
	}
	var k kind
	segment, isEvents := strings.CutPrefix(path, "/events/")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodPut:
	case path == "/calendars":
		k = calendars
	case path == "/preferences":
		k = preferences
	case isEvents && !strings.Contains(segment, "/"):
		k = events
	}
	if k == "" {
		wire.NotFound(w)
		return
	}
	calendar := ""
	if k == events {
		var err error
		if calendar, err = url.PathUnescape(segment); err != nil {
			wire.Fail(w, wire.BadRequest("Invalid calendar ID"), "")
			return
		}
		if calendar == "" {
			wire.Fail(w, wire.BadRequest("Calendar ID required"), "")
			return
		}
	}
	key := entryKey(user, k, calendar)
	if r.Method == http.MethodGet {
		c.get(w, r, key)
	} else {
		c.put(w, r, k, key)
	}
}

func (c *Cache) now() int64 { return c.state.Now().UnixMilli() }

func (c *Cache) expired(rec *record, now int64) bool { return c.ttls[rec.Kind].Expired(rec.Put, now) }

func (c *Cache) get(w http.ResponseWriter, r *http.Request, key string) {
	now := c.now()
	rec, err := c.read(r.Context(), key)
	if err != nil {
		wire.Fail(w, err, "Failed to read cache")
		return
	}
	if rec == nil || c.expired(rec, now) {
		w.Header().Set("X-Cache", "MISS")
		wire.JSON(w, http.StatusNotFound, []byte(`{"error":"Cache miss"}`))
		return
	}
	w.Header().Set("X-Cache", "HIT")
	w.Header().Set("X-Cache-Age", strconv.FormatInt(max(now-rec.Put, 0), 10))
	wire.JSON(w, http.StatusOK, rec.Data)
}

func (c *Cache) put(w http.ResponseWriter, r *http.Request, k kind, key string) {
	data, err := wire.ReadJSON(r)
	if err == nil && data.Kind() != jsonvalue.Object && data.Kind() != jsonvalue.Array {
		err = wire.BadRequest("JSON object or array required")
	}
	if err == nil {
		err = c.store(r.Context(), k, key, data)
	}
	if err != nil {
		wire.Fail(w, err, "Failed to update cache")
		return
	}
	wire.JSON(w, http.StatusOK, []byte(`{"success":true}`))
}

// store keeps data under key from now on.
func (c *Cache) store(ctx context.Context, k kind, key string, data jsonvalue.Value) error {
	now := c.now()
	old, err := c.read(ctx, key)
	if err != nil {
		return err
	}
	rec := &record{Kind: k, Put: now, Data: data}
	if old != nil {
		rec.Due = old.Due // its entry in the index stays; the sweep moves it
		if err := c.state.Storage().Put(ctx, key, rec); err != nil {
			return fmt.Errorf("save cache entry: %w", err)
		}
		return nil
	}
	rec.Due = c.ttls[k].Due(now)
	if err := c.file(ctx, key, rec); err != nil {
		return errors.Join(err, c.index.Revive(ctx, now))
	}
	return c.index.Arm(ctx, now, rec.Due)
}

func (c *Cache) clear(w http.ResponseWriter, r *http.Request, user string) {
	n, err := c.forget(r.Context(), user)
	if err != nil {
		wire.Fail(w, err, "Failed to clear cache")
		return
	}
	wire.JSON(w, http.StatusOK, fmt.Appendf(nil, `{"success":true,"clearedEntries":%d}`, n))
}

// clearStep is how many keys of a user a clear deletes in one commit: however many there
// are, none outgrows the runtime's limit of a turn.
const clearStep = 1000

// forget deletes a user's entries and returns how many of them had not expired. No other
// request comes between its steps. What they have deleted stays so if a later one fails.
func (c *Cache) forget(ctx context.Context, user string) (live int, err error) {
	now := c.now()
	for {
		seen, alive, err := c.forgetSome(ctx, user, now)
		live += alive
		if err == nil && seen == clearStep {
			err = c.state.Storage().Sync(ctx)
		}
		if err != nil {
			return 0, fmt.Errorf("clear cache: %w", err)
		}
		if seen < clearStep {
			return live, nil
		}
	}
}

// forgetSome is one step of forget.
func (c *Cache) forgetSome(ctx context.Context, user string, now int64) (seen, live int, err error) {
	storage := c.state.Storage()
	for e, err := range storage.List(ctx, durable.ListOptions{Prefix: userPrefix(user), Limit: clearStep}) {
		var rec record
		if err == nil {
			err = e.Decode(&rec)
		}
		if err == nil {
			_, err = storage.DeleteMany(ctx, []string{e.Key, expiry.Key(rec.Due, e.Key)})
		}
		if err != nil {
			return seen, live, err
		}
		seen++
		if !c.expired(&rec, now) {
			live++
		}
	}
	return seen, live, nil
}

// Alarm deletes what has expired. The runtime calls it.
func (c *Cache) Alarm(ctx context.Context, _ durable.AlarmInfo) error {
	now := c.now()
	return c.index.Sweep(ctx, now, sweeper{c, now})
}

// sweeper looks at entries that are due in the index.
type sweeper struct {
	*Cache
	at int64
}

func (c sweeper) Expire(ctx context.Context, key string) (alive bool, err error) {
	rec, err := c.read(ctx, key)
	if err != nil || rec == nil {
		return false, err
	}
	if !c.expired(rec, c.at) {
		return true, nil
	}
	if _, err := c.state.Storage().Delete(ctx, key); err != nil {
		return false, fmt.Errorf("delete expired cache entry: %w", err)
	}
	return false, nil
}

func (c sweeper) Refile(ctx context.Context, key string) error {
	rec, err := c.read(ctx, key)
	if err != nil || rec == nil {
		return err
	}
	rec.Due = c.ttls[rec.Kind].Due(rec.Put)
	return c.file(ctx, key, rec)
}

// read returns an entry, nil if there is none.
func (c *Cache) read(ctx context.Context, key string) (*record, error) {
	rec := new(record)
	found, err := c.state.Storage().Get(ctx, key, rec)
	if err != nil {
		return nil, fmt.Errorf("load cache entry: %w", err)
	}
	if !found {
		return nil, nil
	}
	return rec, nil
}

// file stores an entry together with its entry in the index.
func (c *Cache) file(ctx context.Context, key string, rec *record) error {
	err := c.state.Storage().PutMany(ctx, map[string]any{key: rec, expiry.Key(rec.Due, key): true})
	if err != nil {
		return fmt.Errorf("save cache entry: %w", err)
	}
	return nil
}

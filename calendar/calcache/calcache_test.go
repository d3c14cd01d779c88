package calcache_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/internal/classtest"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
)

func open(t testing.TB, vars map[string]string) *classtest.Object {
	t.Helper()
	return classtest.Open(t, &durable.Options{Classes: []durable.Class{calcache.Class()}, Vars: vars})
}

func put(o *classtest.Object, path string) { o.Want(200, "PUT", path, "[1]") }

// wantAge reports a get that is no hit of that age.
func wantAge(t *testing.T, o *classtest.Object, path string, age time.Duration) {
	t.Helper()
	w := o.Do("GET", path, "")
	got := w.Header()["X-Cache-Age"]
	want := []string{strconv.FormatInt(age.Milliseconds(), 10)}
	if w.Code != 200 || w.Header().Get("X-Cache") != "HIT" || !cmp.Equal(got, want) {
		t.Errorf("GET %s = %d %v, want a hit of age %v", path, w.Code, w.Header(), age)
	}
}

func wantMiss(t *testing.T, o *classtest.Object, path string) {
	t.Helper()
	w := o.Do("GET", path, "")
	if w.Code != 404 || w.Header().Get("X-Cache") != "MISS" || w.Header()["X-Cache-Age"] != nil || w.Body.String() != `{"error":"Cache miss"}` {
		t.Errorf("GET %s = %d %v %s, want a miss", path, w.Code, w.Header(), w.Body)
	}
}

func TestLifetimes(t *testing.T) {
	for _, tt := range []struct {
		path string
		vars map[string]string
		ttl  time.Duration
	}{
		{"/calendars", nil, 5 * time.Minute},
		{"/events/a", nil, 5 * time.Minute},
		{"/preferences", nil, 24 * time.Hour},
		{"/calendars", map[string]string{"CACHE_TTL": "10s", "PREFERENCES_TTL": "3h"}, 10 * time.Second},
		{"/events/a", map[string]string{"CACHE_TTL": "10s", "PREFERENCES_TTL": "3h"}, 10 * time.Second},
		{"/preferences", map[string]string{"CACHE_TTL": "10s", "PREFERENCES_TTL": "3h"}, 3 * time.Hour},
		{"/calendars", map[string]string{"CACHE_TTL": "1ms"}, time.Millisecond},
	} {
		t.Run(fmt.Sprint(tt.path, " ", tt.ttl), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// Not evicted, so that what a get sees is not what a start cleans up.
				o := classtest.Open(t, &durable.Options{Classes: []durable.Class{calcache.Class()}, Vars: tt.vars, IdleTimeout: 1000 * time.Hour})
				put(o, tt.path)
				wantAge(t, o, tt.path, 0)
				time.Sleep(tt.ttl - time.Millisecond)
				wantAge(t, o, tt.path, tt.ttl-time.Millisecond) // a get does not renew
				time.Sleep(time.Millisecond)
				wantMiss(t, o, tt.path)
				put(o, tt.path)
				time.Sleep(tt.ttl / 2)
				put(o, tt.path)
				time.Sleep(tt.ttl - time.Millisecond)
				wantAge(t, o, tt.path, tt.ttl-time.Millisecond) // a put does
				o.Crash()
				wantAge(t, o, tt.path, tt.ttl-time.Millisecond)
				time.Sleep(time.Millisecond)
				wantMiss(t, o, tt.path)
				time.Sleep(tt.ttl/60 + time.Millisecond)
				synctest.Wait()
				if keys := o.Keys(); len(keys) != 0 {
					t.Errorf("keys left: %q", keys)
				}
			})
		})
	}
}

func TestAlarmDeletesWhatExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		for i := range 500 { // several alarms' worth
			put(o, fmt.Sprintf("/events/c%d", i))
		}
		put(o, "/preferences")
		time.Sleep(3 * time.Minute)
		put(o, "/events/c7")
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if keys := o.Keys(); len(keys) != 4 {
			t.Errorf("%d keys left, want four, of an entry and the preferences", len(keys))
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if keys := o.Keys(); len(keys) != 2 {
			t.Errorf("%d keys left, want two, of the preferences", len(keys))
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if keys := o.Keys(); len(keys) != 0 || o.Alarms() != 0 {
			t.Errorf("left: keys %q, %d alarms", keys, o.Alarms())
		}
	})
}

// A cache that is full to the last byte but a few, with entries that were put
// again, gets room again when they expire.
func TestQuotaIsFreedByTime(t *testing.T) {
	for size := range 60 {
		synctest.Test(t, func(t *testing.T) {
			o := classtest.Open(t, &durable.Options{Classes: []durable.Class{calcache.Class()}, Limits: durable.Limits{NamespaceBytes: 8000}})
			synctest.Wait() // the runtime has added up what there is: nothing is counted twice
			fill := func(n int) int {
				return o.Do("PUT", fmt.Sprintf("/events/c%04d", n), `["`+strings.Repeat("y", size)+`"]`).Code
			}
			n := 0
			for fill(n) == 200 {
				n++
			}
			time.Sleep(3 * time.Minute)
			for i := range n {
				if code := fill(i); code != 200 {
					t.Fatalf("put again: %d", code)
				}
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if keys := o.Keys(); len(keys) != 0 {
				t.Fatalf("data of %d bytes: %d keys of %d expired entries are left", size, len(keys), n)
			}
			if code := fill(n); code != 200 {
				t.Errorf("put into an empty cache: %d", code)
			}
		})
	}
}

// A full cache whose alarm was lost gets it back.
func TestLostAlarmComesBack(t *testing.T) {
	for _, evicted := range []bool{true, false} {
		rt := durabletest.New(t, &durable.Options{Classes: []durable.Class{calcache.Class()}, Limits: durable.Limits{NamespaceBytes: 1000}})
		s := rt.Namespace(calcache.ClassName).Named("a")
		do := func(method, path, body string) {
			s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "http://do"+path, strings.NewReader(body)))
		}
		do("PUT", "/calendars", "[]")
		err := durabletest.Run(t.Context(), s, func(ctx context.Context, st *durable.State, _ *calcache.Cache) error {
			return st.Storage().DeleteAlarm(ctx)
		})
		if err != nil {
			t.Fatal(err)
		}
		if evicted {
			rt.Evict(s)
			do("GET", "/calendars", "")
		} else {
			do("PUT", "/events/a", `["`+strings.Repeat("x", 2000)+`"]`) // no room
		}
		rt.Advance(2 * time.Hour)
		if o := rt.Objects(calcache.ClassName)[0]; o.Size != 0 {
			t.Errorf("evicted %v: an expired entry is left: %d bytes", evicted, o.Size)
		}
	}
}

// An alarm that is far away must not delay what expires sooner.
func TestAlarmIsTheEarliest(t *testing.T) {
	for _, crash := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			o := classtest.Open(t, &durable.Options{Classes: []durable.Class{calcache.Class()}, IdleTimeout: time.Hour})
			put(o, "/preferences")
			if crash {
				o.Crash()
			}
			put(o, "/calendars")
			time.Sleep(6 * time.Minute)
			synctest.Wait()
			if keys := o.Keys(); len(keys) != 2 {
				t.Errorf("keys left: %q, want those of the preferences (crash: %v)", keys, crash)
			}
			put(o, "/preferences")
			time.Sleep(24*time.Hour - time.Minute) // the first put's alarm goes off, the entry stays
			synctest.Wait()
			o.Want(200, "GET", "/preferences", "")
			if n := o.Alarms(); n != 1 {
				t.Errorf("%d alarms, want 1 (crash: %v)", n, crash)
			}
		})
	}
}

// One alarm that is early enough is enough: putting does not set it again.
func TestAlarmIsSetOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		put(o, "/events/a")
		first := o.AlarmTime()
		for i := range 10 {
			time.Sleep(20 * time.Second) // evicted each time
			put(o, fmt.Sprintf("/events/b%d", i))
			if got := o.AlarmTime(); got != first {
				t.Fatalf("the alarm moved from %d to %d", first, got)
			}
		}
	})
}

func TestClearDoesNotCountTheExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		time.Sleep(time.Second) // so that the end of the step is later than the end of the lifetime
		put(o, "/events/old?userId=al")
		put(o, "/events/renewed?userId=al")
		put(o, "/preferences?userId=al")
		put(o, "/events/old?userId=alice")
		time.Sleep(2 * time.Minute)
		put(o, "/events/renewed?userId=al")
		time.Sleep(3 * time.Minute)
		put(o, "/calendars?userId=al")
		if n := len(o.Keys()); n != 10 {
			t.Fatalf("%d keys: some were swept already", n)
		}
		if got := o.Want(200, "DELETE", "/clear?userId=al", ""); got != `{"success":true,"clearedEntries":3}` {
			t.Errorf("clear = %s, want 3 cleared", got)
		}
		if keys := o.Keys(); len(keys) != 2 {
			t.Errorf("keys left: %q, want those of the other user", keys)
		}
		if got := o.Want(200, "DELETE", "/clear?userId=alice", ""); got != `{"success":true,"clearedEntries":0}` {
			t.Errorf("clear = %s, want none cleared", got)
		}
	})
}

func TestClearOfManyEntries(t *testing.T) {
	o := open(t, nil)
	for i := range 1000 { // more than one call may delete
		put(o, fmt.Sprintf("/events/c%d?userId=u", i))
	}
	put(o, "/calendars?userId=v")
	if got := o.Want(200, "DELETE", "/clear?userId=u", ""); got != `{"success":true,"clearedEntries":1000}` {
		t.Errorf("clear = %s, want 1000 cleared", got)
	}
	if keys := o.Keys(); len(keys) != 2 {
		t.Errorf("%d keys left, want two, of the other user", len(keys))
	}
}

// A user may have more than one turn may delete.
func TestClearOutgrowsNoTurn(t *testing.T) {
	o := classtest.Open(t, &durable.Options{Classes: []durable.Class{calcache.Class()}, Limits: durable.Limits{TurnBytes: 128 << 10}})
	for i := range 3000 { // 3000 entries and their expiry entries are 150 KB of keys
		put(o, fmt.Sprintf("/events/c%d?userId=u", i))
	}
	put(o, "/calendars?userId=v")
	if got := o.Want(200, "DELETE", "/clear?userId=u", ""); got != `{"success":true,"clearedEntries":3000}` {
		t.Errorf("clear = %s, want 3000 cleared", got)
	}
	if keys := o.Keys(); len(keys) != 2 {
		t.Errorf("%d keys left, want two, of the other user", len(keys))
	}
}

// What a request costs does not depend on what others keep in the object.
func TestCostIsFlat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		one := func(user string) map[string]classtest.Cost {
			return map[string]classtest.Cost{
				"put":       o.Cost(func() { put(o, "/events/a?userId="+user) }),
				"put again": o.Cost(func() { put(o, "/events/a?userId="+user) }),
				"get":       o.Cost(func() { o.Want(200, "GET", "/events/a?userId="+user, "") }),
			}
		}
		want := map[string]classtest.Cost{"put": {Batches: 1, Ops: 2}, "put again": {Batches: 1, Ops: 1}, "get": {}}
		if diff := cmp.Diff(want, one("a")); diff != "" {
			t.Errorf("costs with one entry (-want +got):\n%s", diff)
		}
		for i := range 2000 {
			put(o, fmt.Sprintf("/calendars?userId=u%d", i))
		}
		if diff := cmp.Diff(want, one("b")); diff != "" {
			t.Errorf("costs with 2,000 entries (-want +got):\n%s", diff)
		}
		clear := o.Cost(func() { o.Want(200, "DELETE", "/clear?userId=b", "") })
		if want := (classtest.Cost{Batches: 1, Ops: 2, Scans: 1}); clear != want {
			t.Errorf("clear of one entry cost %+v, want %+v", clear, want)
		}
	})
}

// A long random history against a plain map.
func TestHistory(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	type entry struct {
		body string
		put  time.Time
		ttl  time.Duration
	}
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		users := []string{"a", "al", "alice", "default", "a:b", "1:a"}
		model := map[string]map[string]entry{} // by user and path
		live := func(e entry) bool { return time.Since(e.put) < e.ttl }
		for n := range 4000 {
			user := users[rnd.IntN(len(users))]
			path := []string{"/calendars", "/preferences", "/events/x", "/events/b:c", "/events/x%2Fy"}[rnd.IntN(5)]
			url := path + "?userId=" + user
			switch k := rnd.IntN(100); {
			case k < 40:
				body := fmt.Sprintf(`{"n":%d}`, n)
				o.Want(200, "PUT", url, body)
				if model[user] == nil {
					model[user] = map[string]entry{}
				}
				ttl := 5 * time.Minute
				if path == "/preferences" {
					ttl = 24 * time.Hour
				}
				model[user][path] = entry{body, time.Now(), ttl}
			case k < 90:
				if e := model[user][path]; live(e) {
					if got := o.Want(200, "GET", url, ""); got != e.body {
						t.Fatalf("step %d: GET %s = %s, want %s", n, url, got, e.body)
					}
				} else {
					o.Want(404, "GET", url, "")
				}
			case k < 93:
				count := 0
				for _, e := range model[user] {
					if live(e) {
						count++
					}
				}
				delete(model, user)
				if got, want := o.Want(200, "DELETE", "/clear?userId="+user, ""), fmt.Sprintf(`{"success":true,"clearedEntries":%d}`, count); got != want {
					t.Fatalf("step %d: clear of %s = %s, want %s", n, user, got, want)
				}
			case k < 94:
				o.Crash()
			default:
				time.Sleep(time.Duration(rnd.Int64N(int64(4 * time.Minute))))
			}
			if t.Failed() {
				t.Fatalf("step %d", n)
			}
		}
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if keys := o.Keys(); len(keys) != 0 {
			t.Errorf("left over: %q", keys)
		}
	})
}

func TestTooLargeLeavesTheEntry(t *testing.T) {
	o := open(t, nil)
	put(o, "/calendars")
	before := o.Keys()
	for range 2 {
		for _, path := range []string{"/calendars", "/preferences", "/events/x"} {
			body := o.Want(413, "PUT", path, `["`+strings.Repeat("x", 128<<10)+`"]`)
			if !strings.Contains(body, `"limit":131072`) || !strings.Contains(body, `"size":13`) {
				t.Errorf("413 says %s, want limit and size", body)
			}
		}
		if got := o.Want(200, "GET", "/calendars", ""); got != "[1]" {
			t.Errorf("after the refusal: %s", got)
		}
		if diff := cmp.Diff(before, o.Keys()); diff != "" {
			t.Errorf("keys after the refusal (-want +got):\n%s", diff)
		}
		o.Crash()
	}
	o.Want(200, "PUT", "/calendars", "[2]")
}

func TestNoTotalLimit(t *testing.T) {
	o := open(t, nil)
	for i := range 20 {
		o.Want(200, "PUT", fmt.Sprintf("/events/c%d", i), `["`+strings.Repeat("x", 100_000)+`"]`)
	}
	o.Crash()
	o.Want(200, "GET", "/events/c7", "")
}

func TestBodyKeepsItsText(t *testing.T) {
	o := open(t, nil)
	const body = `{"b":1.0,"2":12345678901234567890,"a":[1e400,-0],"1":"\ud800\/<"}`
	o.Want(200, "PUT", "/preferences", " "+body+"\n")
	o.Crash()
	if got := o.Want(200, "GET", "/preferences", ""); got != body {
		t.Errorf("get = %s, want %s", got, body)
	}
}

// A bad escape does not get through net/http, but it does in process.
func TestBadEscape(t *testing.T) {
	o := open(t, nil)
	for _, path := range []string{"%", "%zz", "a%4"} {
		w := o.DoRaw("GET", "/events/"+path)
		if w.Code != 400 || !strings.HasPrefix(w.Body.String(), `{"error":`) {
			t.Errorf("GET /events/%s = %d %s, want 400", path, w.Code, w.Body)
		}
	}
}

func TestBadTTL(t *testing.T) {
	for _, name := range []string{calcache.TTLVar, calcache.PreferencesTTLVar} {
		for _, value := range []string{"5", "x", "0", "-1h"} {
			vars := map[string]string{name: value}
			err := calcache.CheckVars(func(name string) string { return vars[name] })
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("CheckVars with %s=%q = %v, want an error that names it", name, value, err)
			}
			open(t, vars).Want(500, "PUT", "/calendars", "[]")
		}
	}
	if err := calcache.CheckVars(func(string) string { return "" }); err != nil {
		t.Errorf("CheckVars without variables: %v", err)
	}
}

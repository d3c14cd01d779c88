package sessions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar/internal/classtest"
	"github.com/perdure/perdure/calendar/sessions"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
)

func open(t testing.TB, vars map[string]string) *classtest.Object {
	t.Helper()
	return classtest.Open(t, &durable.Options{Classes: []durable.Class{sessions.Class()}, Vars: vars})
}

func create(o *classtest.Object, id string) {
	o.Want(200, "POST", "/create", fmt.Sprintf(`{"sessionId":%q}`, id))
}

func TestSessionExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		create(o, "a")
		create(o, "b")
		time.Sleep(time.Hour - time.Millisecond)
		o.Want(200, "GET", "/get?id=a", "")
		time.Sleep(time.Millisecond)
		o.Want(404, "GET", "/get?id=b", "")
		o.Want(404, "POST", "/update", `{"sessionId":"b","data":{}}`)
		if got := o.Want(200, "DELETE", "/delete?id=b", ""); got != `{"success":false}` {
			t.Errorf("delete of an expired session = %s", got)
		}
		o.Want(200, "GET", "/get?id=a", "")
	})
}

func TestLifetimeSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, map[string]string{sessions.TTLVar: "10m"})
		create(o, "gotten")
		create(o, "updated")
		for range 20 {
			time.Sleep(9 * time.Minute)
			o.Want(200, "GET", "/get?id=gotten", "")
			o.Want(200, "POST", "/update", `{"sessionId":"updated"}`)
		}
		time.Sleep(10 * time.Minute)
		o.Want(404, "GET", "/get?id=gotten", "")
		o.Want(404, "GET", "/get?id=updated", "")
	})
}

func TestTimesInAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		created := time.Now().UnixMilli()
		create(o, "a")
		for range 3 {
			time.Sleep(time.Second)
			var answer struct {
				Session struct{ CreatedAt, UpdatedAt int64 }
			}
			if err := json.Unmarshal([]byte(o.Want(200, "GET", "/get?id=a", "")), &answer); err != nil {
				t.Fatal(err)
			}
			if got, want := answer.Session.UpdatedAt, time.Now().UnixMilli(); got != want {
				t.Errorf("updatedAt = %d, want the time of the get, %d", got, want)
			}
			if got := answer.Session.CreatedAt; got != created {
				t.Errorf("createdAt = %d, want %d", got, created)
			}
		}
	})
}

func TestRenewalIsWrittenOncePerStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		create(o, "a")
		cost := o.Cost(func() {
			for range 11*60/5 - 1 { // not quite 11 minutes
				time.Sleep(5 * time.Second) // not idle for long enough to be evicted
				o.Want(200, "GET", "/get?id=a", "")
			}
		})
		if want := (classtest.Cost{Batches: 10, Ops: 10}); cost != want {
			t.Errorf("gets for 11 minutes cost %+v, want %+v", cost, want)
		}
	})
}

// What eviction or a crash may do to a lifetime, at its edges.
func TestRenewalInMemory(t *testing.T) {
	const step = time.Minute
	for _, tt := range []struct {
		name   string
		used   time.Duration // of a get after create
		lose   func(o *classtest.Object)
		lives  time.Duration // from create
		status int
	}{
		{"remembered", step - time.Millisecond, func(o *classtest.Object) {}, time.Hour + step - 2*time.Millisecond, 200},
		{"remembered to its end", step - time.Millisecond, func(o *classtest.Object) {}, time.Hour + step - time.Millisecond, 404},
		{"forgotten in a crash", step - time.Millisecond, (*classtest.Object).Crash, time.Hour - time.Millisecond, 200},
		{"forgotten in a crash, to its end", step - time.Millisecond, (*classtest.Object).Crash, time.Hour, 404},
		{"written", step, (*classtest.Object).Crash, time.Hour + step - time.Millisecond, 200},
		{"written, to its end", step, (*classtest.Object).Crash, time.Hour + step, 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := classtest.Open(t, &durable.Options{Classes: []durable.Class{sessions.Class()}, IdleTimeout: 100 * time.Hour})
				start := time.Now()
				create(o, "a")
				time.Sleep(tt.used)
				o.Want(200, "GET", "/get?id=a", "")
				tt.lose(o)
				time.Sleep(time.Until(start.Add(tt.lives)))
				o.Want(tt.status, "GET", "/get?id=a", "")
			})
		})
	}
}

// A long random history against the two bounds of the lifetime: never longer
// than promised, and shorter by less than a 60th. The default idle timeout
// evicts the object again and again, and it crashes too.
func TestLifetimeHistory(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		const ttl = 10 * time.Minute
		o := open(t, map[string]string{sessions.TTLVar: ttl.String()})
		used := map[string]time.Time{} // of sessions that are not known to be gone
		for n := range 4000 {
			id := fmt.Sprint("s", rnd.IntN(40))
			if rnd.IntN(200) == 0 {
				o.Crash()
			}
			last, known := used[id]
			age := time.Since(last)
			switch w := o.Do("GET", "/get?id="+id, ""); {
			case w.Code == 200 && (!known || age >= ttl):
				t.Fatalf("step %d: get of %s, unused for %v: 200", n, id, age)
			case w.Code == 200:
				used[id] = time.Now()
			case known && age < ttl-ttl/60:
				t.Fatalf("step %d: get of %s, unused for %v: %d", n, id, age, w.Code)
			default:
				create(o, id)
				used[id] = time.Now()
			}
			if rnd.IntN(4) == 0 {
				if w := o.Do("POST", "/update", fmt.Sprintf(`{"sessionId":%q,"data":{"n":%d}}`, id, n)); w.Code != 200 {
					t.Fatalf("step %d: update: %d %s", n, w.Code, w.Body)
				}
			}
			time.Sleep(time.Duration(rnd.Int64N(int64(40 * time.Second))))
			synctest.Wait()
			for _, key := range o.Keys() {
				if id, ok := strings.CutPrefix(key, "s"); ok && time.Since(used[id]) > ttl+ttl/60+time.Second {
					t.Fatalf("step %d: %s is still stored %v after its last use", n, id, time.Since(used[id]))
				}
			}
		}
		time.Sleep(2 * ttl)
		synctest.Wait()
		if keys := o.Keys(); len(keys) != 0 {
			t.Errorf("left over: %q", keys)
		}
	})
}

func TestAlarmDeletesWhatExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		for i := range 1000 { // several alarms' worth
			create(o, fmt.Sprint("s", i))
		}
		time.Sleep(30 * time.Minute)
		create(o, "later")
		if n := o.Alarms(); n != 1 {
			t.Errorf("%d alarms set, want 1", n)
		}
		cost := o.Cost(func() {
			time.Sleep(31 * time.Minute)
			synctest.Wait()
		})
		if cost.Batches < 8 || cost.Batches > 20 { // so that requests get their turn between
			t.Errorf("1,000 sessions were deleted in %d commits", cost.Batches)
		}
		if keys := o.Keys(); len(keys) != 2 || keys[0] != "slater" {
			t.Errorf("%d keys left, want two, of the session that has not expired", len(keys))
		}
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if keys := o.Keys(); len(keys) != 0 {
			t.Errorf("keys left: %q", keys)
		}
		if n := o.Alarms(); n != 0 {
			t.Errorf("%d alarms set for nothing", n)
		}
		create(o, "again")
		if n := o.Alarms(); n != 1 {
			t.Errorf("%d alarms set, want 1", n)
		}
	})
}

func TestExpiredIDIsFreeBeforeTheSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		time.Sleep(time.Second) // so that the end of the step is later than the end of the lifetime
		o.Want(200, "POST", "/create", `{"sessionId":"a","data":{"first":1}}`)
		time.Sleep(time.Hour)
		if n := len(o.Keys()); n != 2 {
			t.Fatalf("%d keys: it was swept already", n)
		}
		if got := o.Want(200, "POST", "/create", `{"sessionId":"a"}`); strings.Contains(got, "first") {
			t.Errorf("a new session holds an old one's data: %s", got)
		}
		if keys := o.Keys(); len(keys) != 2 {
			t.Errorf("keys: %q, want the session and one entry in the index", keys)
		}
		time.Sleep(59 * time.Minute)
		o.Want(200, "GET", "/get?id=a", "")
	})
}

func TestDeleteLeavesNothing(t *testing.T) {
	o := open(t, nil)
	create(o, "a")
	o.Want(200, "GET", "/get?id=a", "")
	o.Want(200, "DELETE", "/delete?id=a", "")
	if keys := o.Keys(); len(keys) != 0 {
		t.Errorf("keys left: %q", keys)
	}
}

// The cost of a request must not grow with the sessions in the object: no request
// lists, and none writes more than its own session.
func TestCostIsFlat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, nil)
		one := func(id string) map[string]classtest.Cost {
			costs := map[string]classtest.Cost{}
			costs["create"] = o.Cost(func() { create(o, id) })
			costs["create without id"] = o.Cost(func() { o.Want(200, "POST", "/create", "{}") })
			costs["get"] = o.Cost(func() { o.Want(200, "GET", "/get?id="+id, "") })
			costs["update"] = o.Cost(func() { o.Want(200, "POST", "/update", fmt.Sprintf(`{"sessionId":%q,"data":{"a":1}}`, id)) })
			costs["delete"] = o.Cost(func() { o.Want(200, "DELETE", "/delete?id="+id, "") })
			return costs
		}
		want := map[string]classtest.Cost{
			"create": {Batches: 1, Ops: 2}, "create without id": {Batches: 1, Ops: 2}, "get": {},
			"update": {Batches: 1, Ops: 1}, "delete": {Batches: 1, Ops: 2},
		}
		if diff := cmp.Diff(want, one("a")); diff != "" {
			t.Errorf("costs with one session (-want +got):\n%s", diff)
		}
		for i := range 2000 {
			create(o, fmt.Sprint("s", i))
		}
		if diff := cmp.Diff(want, one("b")); diff != "" {
			t.Errorf("costs with 2,000 sessions (-want +got):\n%s", diff)
		}
	})
}

func TestRenewalsInMemoryAreBounded(t *testing.T) {
	o := open(t, nil)
	create(o, "a")
	create(o, "b")
	if err := durable.Exec(t.Context(), o.Stub, (*sessions.Store).FillRenewed, 1); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		id   string
		want int64 // writes
	}{{"a", 0}, {"b", 1}, {"a", 0}, {"b", 1}} {
		cost := o.Cost(func() { o.Want(200, "GET", "/get?id="+tt.id, "") })
		if cost.Ops != tt.want {
			t.Errorf("get of %s wrote %d keys, want %d", tt.id, cost.Ops, tt.want)
		}
	}
	n, err := durable.Call0(t.Context(), o.Stub, (*sessions.Store).Renewed)
	if err != nil || n != 1<<18 {
		t.Errorf("%d renewals remembered, %v, want %d", n, err, 1<<18)
	}
}

func TestTooLargeLeavesTheSession(t *testing.T) {
	o := open(t, nil)
	o.Want(200, "POST", "/create", `{"sessionId":"a","data":{"n":1}}`)
	before := o.Keys()
	var tooLarge struct {
		Error       string
		Limit, Size int
	}
	body := o.Want(413, "POST", "/update", `{"sessionId":"a","data":{"s":"`+strings.Repeat("x", 128<<10)+`"}}`)
	if err := json.Unmarshal([]byte(body), &tooLarge); err != nil {
		t.Fatal(err)
	}
	if tooLarge.Limit != 128<<10 || tooLarge.Size <= 128<<10 || tooLarge.Error == "" {
		t.Errorf("413 says %s, want error, limit and size", body)
	}
	o.Want(413, "POST", "/create", `{"sessionId":"b","data":{"s":"`+strings.Repeat("x", 128<<10)+`"}}`)
	if diff := cmp.Diff(before, o.Keys()); diff != "" {
		t.Errorf("keys after two refusals (-want +got):\n%s", diff)
	}
	for range 2 {
		if got := o.Want(200, "GET", "/get?id=a", ""); !strings.Contains(got, `"data":{"n":1}`) {
			t.Errorf("get after the refusal: %s", got)
		}
		o.Crash()
	}
	o.Want(200, "POST", "/create", `{"sessionId":"b"}`)
}

func TestNoTotalLimit(t *testing.T) {
	o := open(t, nil)
	data := strings.Repeat("x", 100_000)
	for i := range 20 {
		o.Want(200, "POST", "/create", fmt.Sprintf(`{"sessionId":"s%d","data":{"s":%q}}`, i, data))
	}
	o.Crash()
	o.Want(200, "GET", "/get?id=s7", "")
}

func TestQuota(t *testing.T) {
	o := classtest.Open(t, &durable.Options{Classes: []durable.Class{sessions.Class()}, Limits: durable.Limits{NamespaceBytes: 4000}})
	create(o, "a")
	full := `{"sessionId":"b","data":{"s":"` + strings.Repeat("x", 5000) + `"}}`
	o.Want(507, "POST", "/create", full)
	o.Want(200, "GET", "/get?id=a", "")
	o.Want(200, "DELETE", "/delete?id=a", "")
	if keys := o.Keys(); len(keys) != 0 {
		t.Errorf("keys left: %q", keys)
	}
}

// A store that is full to the last byte but a few, with sessions that were renewed,
// gets room again when they expire.
func TestQuotaIsFreedByTime(t *testing.T) {
	for size := range 60 {
		synctest.Test(t, func(t *testing.T) {
			o := classtest.Open(t, &durable.Options{Classes: []durable.Class{sessions.Class()}, Limits: durable.Limits{NamespaceBytes: 8000}})
			synctest.Wait() // the runtime has added up what there is: nothing is counted twice
			body := func(n int) string {
				return fmt.Sprintf(`{"sessionId":"s%04d","data":{"a":%q}}`, n, strings.Repeat("y", size))
			}
			n := 0
			for ; o.Do("POST", "/create", body(n)).Code == 200; n++ {
			}
			o.Want(507, "POST", "/create", body(n))
			time.Sleep(30 * time.Minute)
			for i := range n {
				o.Want(200, "GET", fmt.Sprintf("/get?id=s%04d", i), "")
			}
			time.Sleep(40 * time.Minute)
			o.Want(200, "GET", "/get?id=s0000", "")
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			if keys := o.Keys(); len(keys) != 0 {
				t.Fatalf("data of %d bytes: %d keys of %d expired sessions are left", size, len(keys), n)
			}
			o.Want(200, "POST", "/create", body(n))
		})
	}
}

// Full stores whose alarm was lost, as earlier versions did, get it back.
func TestLostAlarmComesBack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		event func(rt *durabletest.Runtime, s *durable.Stub)
	}{
		{"with an instance", func(rt *durabletest.Runtime, s *durable.Stub) {
			rt.Evict(s)
			s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://do/get?id=none", nil))
		}},
		{"with a create that finds no room", func(rt *durabletest.Runtime, s *durable.Stub) {
			body := `{"data":{"a":"` + strings.Repeat("x", 2000) + `"}}`
			s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "http://do/create", strings.NewReader(body)))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rt := durabletest.New(t, &durable.Options{Classes: []durable.Class{sessions.Class()}, Limits: durable.Limits{NamespaceBytes: 1000}})
			s := rt.Namespace(sessions.ClassName).Named("a")
			s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "http://do/create", strings.NewReader("{}")))
			err := durabletest.Run(t.Context(), s, func(ctx context.Context, st *durable.State, _ *sessions.Store) error {
				return st.Storage().DeleteAlarm(ctx)
			})
			if err != nil {
				t.Fatal(err)
			}
			tt.event(rt, s)
			rt.Advance(2 * time.Hour)
			if o := rt.Objects(sessions.ClassName)[0]; o.Size != 0 {
				t.Errorf("an expired session is left: %d bytes", o.Size)
			}
		})
	}
}

// What data holds comes back to the byte, except for white space.
func TestDataKeepsItsText(t *testing.T) {
	o := open(t, nil)
	const data = `{"b":1.0,"2":12345678901234567890,"a":[1e400,-0,0.10],"1":"\ud800\u0041\/<"}`
	got := o.Want(200, "POST", "/create", `{"sessionId":"a","userId":"\u0041\/","data": `+data+` }`)
	if !strings.HasSuffix(got, `,"userId":"\u0041\/","data":`+data+`}}`) {
		t.Errorf("create = %s, want data %s", got, data)
	}
	o.Crash()
	if got := o.Want(200, "GET", "/get?id=a", ""); !strings.HasSuffix(got, `"data":`+data+`}}`) {
		t.Errorf("get = %s, want data %s", got, data)
	}
	want := `"data":{"b":2.50,"2":12345678901234567890,"a":[1e400,-0,0.10],"1":"\ud800\u0041\/<","0":0}}}`
	if got := o.Want(200, "POST", "/update", `{"sessionId":"a","data":{"0":0,"b":2.50}}`); !strings.HasSuffix(got, want) {
		t.Errorf("update = %s, want %s", got, want)
	}
}

func TestMadeIDs(t *testing.T) {
	o := open(t, nil)
	seen := map[string]bool{}
	var letters [256]bool
	for range 200 {
		var answer struct{ SessionID string }
		if err := json.Unmarshal([]byte(o.Want(200, "POST", "/create", "{}")), &answer); err != nil {
			t.Fatal(err)
		}
		if len(answer.SessionID) != 21 {
			t.Fatalf("id %q has %d characters, want 21", answer.SessionID, len(answer.SessionID))
		}
		seen[answer.SessionID] = true
		for _, c := range []byte(answer.SessionID) {
			letters[c] = true
		}
	}
	if len(seen) != 200 {
		t.Errorf("%d different ids of 200", len(seen))
	}
	for c, used := range letters {
		want := c < 128 && strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", rune(c))
		if used != want { // a letter is missing by chance once in 10^28 runs
			t.Errorf("character %q in ids: %v, want %v", rune(c), used, want)
		}
	}
}

func TestConcurrentClients(t *testing.T) {
	o := open(t, nil)
	create(o, "shared")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 25 {
				o.Want(200, "POST", "/update", fmt.Sprintf(`{"sessionId":"shared","data":{"k%d.%d":1}}`, i, j))
				o.Want(200, "GET", "/get?id=shared", "")
			}
		})
	}
	wg.Wait()
	var answer struct{ Session struct{ Data map[string]int } }
	if err := json.Unmarshal([]byte(o.Want(200, "GET", "/get?id=shared", "")), &answer); err != nil {
		t.Fatal(err)
	}
	if n := len(answer.Session.Data); n != 200 {
		t.Errorf("%d members after 200 updates", n)
	}
}

func TestBadTTL(t *testing.T) {
	for _, value := range []string{"1", "x", "0", "0s", "-1h", "1us", "1h30"} {
		err := sessions.CheckVars(func(name string) string { return map[string]string{sessions.TTLVar: value}[name] })
		if err == nil || !strings.Contains(err.Error(), "SESSION_TTL") {
			t.Errorf("CheckVars with %q = %v, want an error that names SESSION_TTL", value, err)
		}
		o := open(t, map[string]string{sessions.TTLVar: value})
		o.Want(500, "POST", "/create", "{}")
	}
	for _, value := range []string{"", "1ms", "1h30m", "2000h"} {
		if err := sessions.CheckVars(func(string) string { return value }); err != nil {
			t.Errorf("CheckVars with %q: %v", value, err)
		}
	}
}

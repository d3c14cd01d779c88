package calendar_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/durable"
)

func simple(name string) string { return event(name, ":20260310T090000Z", "SUMMARY:"+name) }

// wantRequests compares what the server was asked since the last time.
func (b *testbed) wantRequests(t testing.TB, what string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), append([]string{}, b.server.requests()...)); diff != "" {
		t.Errorf("requests of %s (-want +got):\n%s", what, diff)
	}
}

func (b *testbed) wantTitles(t testing.TB, what string, want ...string) calendar.Events {
	t.Helper()
	got := b.list(t, year)
	if diff := cmp.Diff(append([]string{}, want...), titles(got.Events)); diff != "" {
		t.Errorf("titles %s (-want +got):\n%s", what, diff)
	}
	return got
}

func TestTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestbed(t, nil)
		b.server.put("personal", "a.ics", simple("a"))
		b.wantTitles(t, "cold", "a")
		b.wantRequests(t, "a cold list", "PROPFIND /dav/", "PROPFIND /dav/principals/alice/", "OPTIONS alice/", "PROPFIND alice/",
			"sync-collection alice/personal/", "calendar-multiget alice/personal/")

		b.server.put("personal", "b.ics", simple("b"))
		time.Sleep(5*time.Minute - time.Second)
		got := b.wantTitles(t, "within the TTL", "a")
		b.wantRequests(t, "a list within the TTL")
		if want := (calendar.Freshness{Age: 5*time.Minute - time.Second}); got.Freshness != want {
			t.Errorf("freshness %+v, want %+v", got.Freshness, want)
		}
		time.Sleep(time.Second)
		got = b.wantTitles(t, "after the TTL", "a", "b")
		b.wantRequests(t, "a list after the TTL, changed", "PROPFIND alice/",
			"sync-collection alice/personal/", "calendar-multiget alice/personal/")
		if got.Age != 0 || got.Stale {
			t.Errorf("freshness %+v after a refresh", got.Freshness)
		}
		if diff := cmp.Diff([]calendar.Change{{User: "alice", Calendar: "personal", Events: []string{"b"}}}, b.takeChanges()); diff != "" {
			t.Errorf("changes told (-want +got):\n%s", diff)
		}
		time.Sleep(5 * time.Minute)
		b.wantTitles(t, "after another TTL", "a", "b")
		b.wantRequests(t, "a list after the TTL, unchanged", "PROPFIND alice/")

		// A refresh of the one calendar alone, as the list of calendars was just asked for.
		b.server.remove("personal", "a.ics")
		time.Sleep(5 * time.Minute)
		b.wantTitles(t, "after a removal", "b")
	})
}

// A second service, as after a restart or on another node, has the copy without asking.
func TestCopyOutlivesTheService(t *testing.T) {
	b := newTestbed(t, nil)
	for i := range 40 { // several blobs
		b.server.put("personal", fmt.Sprintf("e%02d.ics", i), event(fmt.Sprint(i), ":20260310T090000Z",
			fmt.Sprintf("SUMMARY:e%02d", i), "DESCRIPTION:"+strings.Repeat("long ", 4000)))
	}
	before := b.list(t, year)
	b.server.requests()
	b.open(t, nil)
	after := b.list(t, year)
	b.wantRequests(t, "the second service")
	before.Age, after.Age = 0, 0
	if diff := cmp.Diff(before, after, cmpopts.IgnoreUnexported(calendar.Events{})); diff != "" || len(after.Events) != 40 {
		t.Errorf("second service lists otherwise (-first +second):\n%s", diff)
	}
	// It sees what the first one writes at once.
	first := b.User
	b.open(t, nil)
	b.list(t, year)
	if _, err := first.UpdateEvent(t.Context(), "personal", "e07", calendar.EventChange{Title: calendar.To("new")}, calendar.Edit{}); err != nil {
		t.Fatal(err)
	}
	if got, err := b.GetEvent(t.Context(), "personal", "e07", ""); err != nil || got.Event.Title != "new" {
		t.Errorf("the other service has %q, %v", got.Event.Title, err)
	}
}

func TestConcurrentMissesMakeOneFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestbed(t, nil)
		b.server.put("personal", "a.ics", simple("a"))
		b.list(t, year)
		b.server.put("personal", "b.ics", simple("b"))
		time.Sleep(5 * time.Minute)
		b.server.requests()
		gates := map[string]chan struct{}{"PROPFIND": make(chan struct{}), "REPORT": make(chan struct{})}
		b.server.before = func(method, path string) { <-gates[method] }
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				got, err := b.ListEvents(t.Context(), year)
				if err != nil || len(got.Events) != 2 {
					t.Errorf("ListEvents = %q, %v", titles(got.Events), err)
				}
			})
		}
		synctest.Wait()
		close(gates["PROPFIND"])
		synctest.Wait()
		close(gates["REPORT"])
		wg.Wait()
		b.wantRequests(t, "20 readers", "PROPFIND alice/", "sync-collection alice/personal/", "calendar-multiget alice/personal/")
	})
}

// The leader's leaving does not fail the others.
func TestLeaverFailsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestbed(t, nil)
		b.server.put("personal", "a.ics", simple("a"))
		release := make(chan struct{})
		b.server.before = func(method, path string) {
			if method == "REPORT" {
				<-release
			}
		}
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := b.User.ListEvents(ctx, year); !errors.Is(err, context.Canceled) {
				t.Errorf("the leaver got %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if got, err := b.User.ListEvents(t.Context(), year); err != nil || len(got.Events) != 1 {
				t.Errorf("the other got %v, %v", titles(got.Events), err)
			}
		})
		synctest.Wait()
		leave()
		synctest.Wait()
		close(release)
		wg.Wait()
		b.svc.Close()
	})
}

// Promise 3 of calcache's copies, seen from here: a fill that began before a write never
// hides what was written.
func TestFillLosesAgainstWrite(t *testing.T) {
	for _, moment := range []string{"before", "after"} {
		t.Run(moment, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newTestbed(t, nil)
				b.server.put("personal", "a.ics", simple("a"))
				b.list(t, year)
				other := b.newService(t, b.server, nil).User("alice") // it has a flight of its own
				time.Sleep(5 * time.Minute)
				b.server.put("personal", "c.ics", simple("c")) // so that there is a delta to fetch
				release := make(chan struct{})
				blocked := false
				block := func(method, path string) {
					if method == "REPORT" && !blocked {
						blocked = true
						<-release
					}
				}
				if moment == "before" {
					b.server.before = block
				} else {
					b.server.after = block
				}
				var wg sync.WaitGroup
				var page calendar.Events
				wg.Go(func() {
					var err error
					if page, err = other.ListEvents(t.Context(), year); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait() // its fetch is under way
				if _, err := b.UpdateEvent(t.Context(), "personal", "a", calendar.EventChange{Title: calendar.To("written")}, calendar.Edit{}); err != nil {
					t.Fatal(err)
				}
				close(release)
				wg.Wait()
				if diff := cmp.Diff([]string{"written", "c"}, titles(page.Events)); diff != "" {
					t.Errorf("the fill's answer (-want +got):\n%s", diff)
				}
				b.wantTitles(t, "after both", "written", "c")
				b.open(t, nil)
				b.wantTitles(t, "in the cache", "written", "c")
			})
		})
	}
}

// Promise 4: a write's own version is not put over a newer one that a fill saw.
func TestPatchLosesAgainstFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := &calendar.Options{TTL: time.Second}
		b := newTestbed(t, opts)
		b.server.put("personal", "a.ics", simple("a"))
		b.list(t, year)
		other := b.newService(t, b.server, opts).User("alice")
		var wg sync.WaitGroup
		release := make(chan struct{})
		b.server.after = func(method, path string) { // the PUT is done, its answer is late
			if method == "PUT" {
				<-release
			}
		}
		wg.Go(func() {
			if _, err := b.UpdateEvent(t.Context(), "personal", "a", calendar.EventChange{Title: calendar.To("ours")}, calendar.Edit{}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		b.server.put("personal", "a.ics", simple("theirs"))
		time.Sleep(time.Second)
		if page, err := other.ListEvents(t.Context(), year); err != nil || !cmp.Equal(titles(page.Events), []string{"theirs"}) {
			t.Fatalf("fill = %q, %v", titles(page.Events), err)
		}
		close(release)
		wg.Wait()
		b.wantTitles(t, "after both", "theirs")
		b.svc.Close()
	})
}

func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestbed(t, nil)
		b.server.put("personal", "a.ics", simple("a"))
		b.list(t, year)
		b.server.setDown(true)
		time.Sleep(7 * time.Minute)
		want := calendar.Freshness{Stale: true, Age: 7 * time.Minute}
		start := time.Now()
		got := b.wantTitles(t, "while the server is down", "a")
		want.Age += time.Since(start)
		if got.Freshness.Stale != true || got.Age < 7*time.Minute || got.Age > want.Age+time.Second {
			t.Errorf("freshness %+v, want %+v", got.Freshness, want)
		}
		if time.Since(start) > 25*time.Second {
			t.Errorf("the stale copy took %v", time.Since(start))
		}
		if cals, err := b.ListCalendars(t.Context()); err != nil || !cals.Stale || len(cals.Calendars) != 1 {
			t.Errorf("ListCalendars = %+v, %v", cals, err)
		}
		b.server.requests()
		b.list(t, year)
		b.wantRequests(t, "a list right after an outage")

		_, err := b.CreateEvent(t.Context(), "", calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-03-10")}, nil)
		if !errors.Is(err, calendar.ErrUncertain) && !errors.Is(err, calendar.ErrUnavailable) {
			t.Errorf("CreateEvent while down: %v", err)
		}
		b.server.setDown(false)
		b.server.put("personal", "b.ics", simple("b"))
		time.Sleep(time.Minute)
		got = b.wantTitles(t, "after the outage", "a", "b")
		if got.Stale {
			t.Errorf("freshness %+v after the outage", got.Freshness)
		}
	})
}

// Where only the delta can't be had, the copy is served as well.
func TestStaleWithoutDelta(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestbed(t, nil)
		b.server.put("personal", "a.ics", simple("a"))
		b.list(t, year)
		b.server.put("personal", "b.ics", simple("b"))
		b.server.broken = "REPORT"
		time.Sleep(6 * time.Minute)
		if got := b.wantTitles(t, "without a delta", "a"); !got.Stale || got.Age < 6*time.Minute {
			t.Errorf("freshness %+v", got.Freshness)
		}
	})
}

func TestNothingToServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestbed(t, nil)
		b.server.setDown(true)
		_, err := b.ListEvents(t.Context(), year)
		var p *calendar.Problem
		if !errors.Is(err, calendar.ErrUnavailable) || !errors.As(err, &p) || strings.Contains(p.Error(), "refused") {
			t.Errorf("ListEvents without a copy = %v", err)
		}
	})
}

func TestServersWithoutSync(t *testing.T) {
	b := newTestbed(t, &calendar.Options{AlwaysCheck: true})
	b.server.noSync = true
	b.server.put("personal", "a.ics", simple("a"))
	b.server.put("personal", "b.ics", simple("b"))
	b.wantTitles(t, "cold", "a", "b")
	b.server.requests()
	b.server.put("personal", "c.ics", simple("c"))
	b.server.put("personal", "b.ics", simple("b2"))
	b.server.remove("personal", "a.ics")
	b.wantTitles(t, "changed", "b2", "c")
	b.wantRequests(t, "a refresh", "PROPFIND alice/", "sync-collection alice/personal/", "calendar-query alice/personal/", "calendar-multiget alice/personal/")
}

// A token that the server does not know any more starts anew, with what is unchanged kept.
func TestInvalidToken(t *testing.T) {
	b := newTestbed(t, &calendar.Options{AlwaysCheck: true})
	for _, name := range []string{"a", "b", "c"} {
		b.server.put("personal", name+".ics", simple(name))
	}
	b.wantTitles(t, "cold", "a", "b", "c")
	b.server.mu.Lock()
	c := b.server.calendars[fakeHome+"personal/"]
	c.changes = []string{fakeHome + "personal/a.ics"} // the server was set back
	delete(c.objects, fakeHome+"personal/c.ics")
	c.objects[fakeHome+"personal/a.ics"] = fakeObject{simple("a2"), `"new"`}
	c.changes = append(c.changes, fakeHome+"personal/b.ics")
	b.server.mu.Unlock()
	b.wantTitles(t, "after the reset", "a2", "b")
}

// A token that is too old to be known begins anew on some servers, which say nothing of what
// was deleted. All entity tags are compared then, and nothing is fetched again.
func TestOldToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestbed(t, nil)
		for _, name := range []string{"a", "b", "c"} {
			b.server.put("personal", name+".ics", simple(name))
		}
		b.wantTitles(t, "cold", "a", "b", "c")
		time.Sleep(5 * 24 * time.Hour)
		b.server.put("personal", "d.ics", simple("d"))
		b.server.requests()
		b.wantTitles(t, "after days", "a", "b", "c", "d")
		b.wantRequests(t, "after days", "PROPFIND alice/", "sync-collection alice/personal/", "calendar-multiget alice/personal/")
		b.server.forgets = true
		b.server.remove("personal", "b.ics")
		time.Sleep(8 * 24 * time.Hour)
		b.wantTitles(t, "after a week", "a", "c", "d")
		b.wantRequests(t, "after a week", "PROPFIND alice/", "sync-collection alice/personal/")
	})
}

// With AlwaysCheck, a change made elsewhere shows in the next answer.
func TestAlwaysCheck(t *testing.T) {
	b := newTestbed(t, &calendar.Options{AlwaysCheck: true})
	b.wantTitles(t, "empty")
	for i := range 50 {
		name := fmt.Sprintf("e%02d", i)
		b.server.put("personal", name+".ics", simple(name))
		if got := b.list(t, year); len(got.Events) != i+1 {
			t.Fatalf("after %d changes the list has %d events", i+1, len(got.Events))
		}
	}
	b.server.requests()
	b.list(t, year)
	b.wantRequests(t, "a list with nothing changed", "PROPFIND alice/")

	// What we wrote ourselves is not fetched again.
	b.update(t, "e00", calendar.EventChange{Title: calendar.To("ours")}, calendar.Edit{})
	b.server.requests()
	b.list(t, year)
	b.wantRequests(t, "a list after a write of ours", "PROPFIND alice/", "sync-collection alice/personal/")
}

// Being asked at every read must not mean being written at every read.
func TestAlwaysCheckWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestbed(t, &calendar.Options{AlwaysCheck: true})
		b.server.put("personal", "a.ics", simple("a"))
		b.list(t, year)
		before := b.copyHead(t)
		time.Sleep(time.Second)
		b.list(t, year)
		if diff := cmp.Diff(before, b.copyHead(t)); diff != "" {
			t.Errorf("a read changed the copy's head (-before +after):\n%s", diff)
		}
	})
}

// copyHead is the head of the copy of calendar personal.
func (b *testbed) copyHead(t *testing.T) calcache.Copy {
	t.Helper()
	head, err := durable.Call(t.Context(), b.rt.Namespace(calcache.ClassName).Named("alice"), (*calcache.Cache).Copy,
		calcache.CopyKey{User: "alice", Name: "objects:" + fakeHome + "personal/"})
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// Many small changes are compacted, and large objects are no different.
func TestCopyStaysRightUnderManyChanges(t *testing.T) {
	b := newTestbed(t, &calendar.Options{AlwaysCheck: true})
	big := event("big", ":20260309T090000Z", "SUMMARY:big", "ATTACH:"+strings.Repeat("x", 300<<10))
	b.server.put("personal", "big.ics", big)
	for i := range 150 {
		b.server.put("personal", "a.ics", simple(fmt.Sprint("a", i)))
		b.wantTitles(t, "in memory", "big", fmt.Sprint("a", i))
	}
	if _, err := b.UpdateEvent(t.Context(), "personal", "big", calendar.EventChange{Title: calendar.To("large")}, calendar.Edit{}); err != nil {
		t.Fatal(err)
	}
	b.wantTitles(t, "after a large write", "large", "a149")
	for i := range 20 {
		b.server.put("personal", "big.ics", strings.Replace(big, "SUMMARY:big", fmt.Sprint("SUMMARY:large", i), 1))
		b.wantTitles(t, "of a large object", fmt.Sprint("large", i), "a149")
	}
	if n := len(b.copyHead(t).Blobs); n > 70 { // what counts no more is dropped in time
		t.Errorf("the copy has %d blobs", n)
	}
	b.open(t, nil)
	b.server.requests()
	b.wantTitles(t, "in the cache", "large19", "a149")
	b.server.remove("personal", "a.ics")
	b.open(t, &calendar.Options{AlwaysCheck: true})
	b.wantTitles(t, "after a removal", "large19")
	b.open(t, &calendar.Options{AlwaysCheck: true})
	b.wantTitles(t, "in the cache after a removal", "large19")
}

// The copy of another account is not used after a new login.
func TestAnotherSource(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.put("personal", "a.ics", simple("a"))
	b.wantTitles(t, "of the first account", "a")
	b.server = newFakeServer()
	b.server.put("personal", "z.ics", simple("z"))
	b.server.make("second")
	b.open(t, nil) // the same origin: only the Source tells
	b.wantTitles(t, "of the same source", "a")
	b.source = "other"
	b.open(t, nil)
	b.wantTitles(t, "of the second account", "z")
	b.calendar(t, "second")
}

// A calendar that another client deleted takes the others' events with it for nobody.
func TestVanishedCalendar(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.make("second")
	b.server.put("personal", "a.ics", simple("a"))
	if _, err := b.ListCalendars(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.server.mu.Lock()
	gone := b.server.calendars[fakeHome+"second/"]
	delete(b.server.calendars, fakeHome+"second/")
	b.server.mu.Unlock()
	b.wantTitles(t, "without the calendar that vanished", "a")
	if l, err := b.ListCalendars(t.Context()); err != nil || len(l.Calendars) != 1 {
		t.Errorf("ListCalendars = %+v, %v, want one", l, err)
	}
	q := year
	q.Calendars = []string{"second"}
	if _, err := b.ListEvents(t.Context(), q); !errors.Is(err, calendar.ErrNotFound) {
		t.Errorf("ListEvents of the calendar alone = %v, want ErrNotFound", err)
	}

	// One that only says so is not left out silently.
	b = newTestbed(t, nil)
	b.server.calendars[fakeHome+"second/"] = gone
	if _, err := b.ListCalendars(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.server.before = func(method, path string) {
		b.server.mu.Lock()
		defer b.server.mu.Unlock()
		if delete(b.server.calendars, fakeHome+"second/"); path == fakeHome {
			b.server.calendars[path+"second/"] = gone
		}
	}
	if _, err := b.ListEvents(t.Context(), year); !errors.Is(err, calendar.ErrNotFound) {
		t.Errorf("ListEvents with a calendar that is listed and not found = %v, want ErrNotFound", err)
	}
}

// What a copy does not have while the server can't be asked may have been made since: that is
// no "not found".
func TestNotInAStaleCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestbed(t, nil)
		b.server.put("personal", "a.ics", event("a", ":20260310T090000Z", "RRULE:FREQ=DAILY;COUNT=2"))
		b.list(t, year)
		b.server.put("personal", "b.ics", simple("b"))
		b.server.mu.Lock()
		b.server.make("late")
		b.server.mu.Unlock()
		title := calendar.EventChange{Title: calendar.To("x")}
		try := func(what string, want error) {
			t.Helper()
			ctx := t.Context()
			_, get := b.GetEvent(ctx, "personal", "b2", "")
			_, occurrence := b.GetEvent(ctx, "personal", "a", "2026-03-13T09:00:00Z")
			_, update := b.UpdateEvent(ctx, "personal", "b2", title, calendar.Edit{})
			_, remove := b.DeleteEvent(ctx, "personal", "b2", calendar.Edit{})
			_, list := b.ListEvents(ctx, calendar.Query{Calendars: []string{"none"}})
			_, both := b.ListEvents(ctx, calendar.Query{Calendars: []string{"personal", "none"}})
			_, create := b.CreateEvent(ctx, "none", calendar.EventChange{Title: calendar.To("x"), Start: calendar.To("2026-03-10")}, nil)
			for name, err := range map[string]error{"GetEvent": get, "GetEvent of an occurrence": occurrence, "UpdateEvent": update,
				"DeleteEvent": remove, "ListEvents": list, "ListEvents of two": both, "CreateEvent": create, "DeleteCalendar": b.DeleteCalendar(ctx, "none")} {
				if !errors.Is(err, want) {
					t.Errorf("%s %s: %v, want %v", name, what, err, want)
				}
			}
		}
		try("of nothing", calendar.ErrNotFound)
		b.server.setDown(true)
		time.Sleep(6 * time.Minute)
		try("while the server is down", calendar.ErrUnavailable)
		if got, err := b.GetEvent(t.Context(), "personal", "b", ""); !got.Stale || err != nil {
			t.Errorf("what the copy has: %+v, %v", got.Freshness, err)
		}
		b.server.setDown(false)
		time.Sleep(time.Minute)
		try("after the outage", calendar.ErrNotFound)
		if _, err := b.ListEvents(t.Context(), calendar.Query{Calendars: []string{"late"}}); err != nil {
			t.Errorf("a calendar made during the outage: %v", err)
		}
	})
}

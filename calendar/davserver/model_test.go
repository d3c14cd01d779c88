package davserver

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var seed = flag.Uint64("seed", 0, "seed of the random edits, 0 for one of the clock's")

func newRand(t *testing.T) *rand.Rand {
	n := *seed
	if n == 0 {
		n = uint64(time.Now().UnixNano())
	}
	t.Logf("go test -run %s -seed=%d", t.Name(), n)
	return rand.New(rand.NewPCG(n, 0))
}

// replica is a client's copy of a calendar: names and tags.
type replica struct {
	token string
	tags  map[string]string
}

// sync brings the replica up to date, in steps of limit changes if that is not 0.
func (c *replica) sync(s *testServer, limit int) error {
	for {
		nresults := ""
		if limit > 0 {
			nresults = fmt.Sprintf("<D:limit><D:nresults>%d</D:nresults></D:limit>", limit)
		}
		w := s.send("REPORT", calendarPath, `<D:sync-collection xmlns:D="DAV:"><D:sync-token>`+c.token+`</D:sync-token><D:sync-level>1</D:sync-level>`+
			nresults+`<D:prop><D:getetag/></D:prop></D:sync-collection>`)
		if w.Code != 207 {
			return fmt.Errorf("sync(%q) = %d: %s", c.token, w.Code, w.Body)
		}
		a := parseAnswer(s.t, w.Body.String())
		more := false
		for _, r := range a.responses {
			switch name := strings.TrimPrefix(r.href, calendarPath); {
			case name == "" && r.status == "507":
				more = true
			case r.status == "404":
				delete(c.tags, name)
			default:
				c.tags[name] = strings.Trim(r.etag, `"`)
			}
		}
		if limit > 0 && len(a.responses) > limit+1 {
			return fmt.Errorf("sync with limit %d told %d", limit, len(a.responses))
		}
		c.token = a.token
		if !more {
			return nil
		}
	}
}

// TestSyncModel makes random edits and lets clients of different habits follow them.
func TestSyncModel(t *testing.T) {
	rnd := newRand(t)
	s := newTestServer(t, nil)
	s.mkcalendar()
	model := make(map[string]string)
	clients := make([]*replica, 4)
	for i := range clients {
		clients[i] = &replica{tags: make(map[string]string)}
	}
	for step := range 600 {
		name := fmt.Sprintf("o%d.ics", rnd.IntN(30))
		switch n := rnd.IntN(20); {
		case n < 10:
			data := event("uid-"+name, fmt.Sprintf("DTSTART:2026%02d10T090000Z", 1+rnd.IntN(12)), fmt.Sprintf("SUMMARY:%d", rnd.IntN(4)), "DESCRIPTION:"+strings.Repeat("x", rnd.IntN(2)*200_000))
			want := 201
			if _, exists := model[name]; exists {
				want = 204
			}
			s.must(want, "PUT", calendarPath+name, data)
			model[name] = data
		case n < 15:
			want := 404
			if _, exists := model[name]; exists {
				want = 204
			}
			s.must(want, "DELETE", calendarPath+name, "")
			delete(model, name)
		case n < 16:
			s.must(207, "PROPPATCH", calendarPath, fmt.Sprintf(`<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:displayname>%d</D:displayname></D:prop></D:set></D:propertyupdate>`, rnd.IntN(3)))
		case n < 17:
			s.crash()
		case n < 18:
			s.rt.EvictAll()
		default:
			c := rnd.IntN(len(clients))
			if err := clients[c].sync(s, c*2); err != nil {
				t.Fatalf("step %d, client %d: %v", step, c, err)
			}
			compareReplica(t, fmt.Sprintf("step %d, client %d", step, c), clients[c], model)
		}
	}
	if diff := cmp.Diff(model, s.checkStorage(t, "work")); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	for i, c := range clients {
		if err := c.sync(s, i*2); err != nil {
			t.Fatal(err)
		}
		compareReplica(t, fmt.Sprintf("client %d at the end", i), c, model)
	}
}

func compareReplica(t *testing.T, who string, c *replica, model map[string]string) {
	t.Helper()
	want := make(map[string]string)
	for name, data := range model {
		want[name] = etagOf([]byte(data))
	}
	if diff := cmp.Diff(want, c.tags); diff != "" {
		t.Fatalf("%s: replica (-want +got):\n%s", who, diff)
	}
}

// TestSyncWhileWriting lets clients sync while others write: whatever moment a
// listing catches, the next syncs make up for it.
func TestSyncWhileWriting(t *testing.T) {
	rnd := newRand(t)
	s := newTestServer(t, nil)
	s.mkcalendar()
	done := make(chan struct{})
	var writers, readers sync.WaitGroup
	for i := range 4 {
		r := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		writers.Go(func() {
			for n := range 150 {
				name := fmt.Sprintf("%d-%d.ics", i, r.IntN(10))
				if r.IntN(3) == 0 {
					s.send("DELETE", calendarPath+name, "")
				} else if w := s.send("PUT", calendarPath+name, event(name, "DTSTART:20260310T090000Z", fmt.Sprintf("SUMMARY:%d", n))); w.Code >= 300 {
					t.Errorf("PUT %s = %d: %s", name, w.Code, w.Body)
				}
			}
		})
	}
	clients := make([]*replica, 3)
	for i := range clients {
		c := &replica{tags: make(map[string]string)}
		clients[i] = c
		readers.Go(func() {
			for {
				if err := c.sync(s, i*3); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	model := s.checkStorage(t, "work")
	for i, c := range clients {
		if err := c.sync(s, i*3); err != nil {
			t.Fatal(err)
		}
		compareReplica(t, fmt.Sprintf("client %d", i), c, model)
	}
}

// TestConditionsUnderContention has many writers change one object from the same tag: one of them may.
func TestConditionsUnderContention(t *testing.T) {
	s := newTestServer(t, nil)
	s.mkcalendar()
	tag := s.must(201, "PUT", calendarPath+"a.ics", event("a", "DTSTART:20260310T090000Z")).Header().Get("ETag")
	for round := range 10 {
		codes := make([]int, 8)
		tags := make([]string, 8)
		var wg sync.WaitGroup
		for i := range codes {
			wg.Go(func() {
				w := s.send("PUT", calendarPath+"a.ics", event("a", "DTSTART:20260310T090000Z", fmt.Sprintf("SUMMARY:%d %d", round, i)), "If-Match", tag)
				codes[i], tags[i] = w.Code, w.Header().Get("ETag")
			})
		}
		wg.Wait()
		won := slices.Index(codes, 204)
		slices.Sort(codes)
		if diff := cmp.Diff([]int{204, 412, 412, 412, 412, 412, 412, 412}, codes); diff != "" {
			t.Fatalf("codes (-want +got):\n%s", diff)
		}
		tag = tags[won]
	}

	// The same for creating, and for a UID under different names.
	var wg sync.WaitGroup
	codes := make([]int, 8)
	for i := range codes {
		wg.Go(func() {
			codes[i] = s.send("PUT", fmt.Sprintf("%su%d.ics", calendarPath, i), event("same", "DTSTART:20260310T090000Z")).Code
		})
	}
	wg.Wait()
	slices.Sort(codes)
	if diff := cmp.Diff([]int{201, 403, 403, 403, 403, 403, 403, 403}, codes); diff != "" {
		t.Errorf("codes for one UID (-want +got):\n%s", diff)
	}
	for i := range codes {
		wg.Go(func() { codes[i] = s.send("MKCALENDAR", "/dav/calendars/alice/new/", "").Code })
	}
	wg.Wait()
	slices.Sort(codes)
	if diff := cmp.Diff([]int{201, 405, 405, 405, 405, 405, 405, 405}, codes); diff != "" {
		t.Errorf("codes for one calendar (-want +got):\n%s", diff)
	}
	if n := len(s.rt.Objects(CalendarClass)); n != 2 {
		t.Errorf("%d Calendars have data, want 2: those that lost have to go", n)
	}
	s.checkStorage(t, "work")
}

// TestCrash takes the power away while writes are on their way: what was answered is
// there, and what was not is there whole or not at all.
func TestCrash(t *testing.T) { synctest.Test(t, testCrash) }

func testCrash(t *testing.T) {
	rnd := newRand(t)
	s := newTestServer(t, nil)
	s.mkcalendar()
	acked := make(map[string]string)
	for round := range 5 {
		for i := range 10 {
			name := fmt.Sprintf("o%d.ics", i)
			data := event(name, "DTSTART:20260310T090000Z", fmt.Sprintf("SUMMARY:%d", round), "DESCRIPTION:"+strings.Repeat("y", rnd.IntN(2)*300_000))
			s.send("PUT", calendarPath+name, data)
			acked[name] = data
		}
		s.must(204, "DELETE", calendarPath+"o3.ics", "")
		delete(acked, "o3.ics")
		hold := s.rt.Store().Hold()
		before := *s
		var wg sync.WaitGroup
		codes := make([]int, 6)
		for i := range codes {
			wg.Go(func() {
				if i == 5 {
					codes[i] = before.send("DELETE", calendarPath+"o0.ics", "").Code
					return
				}
				codes[i] = before.send("PUT", fmt.Sprintf("%sheld%d.ics", calendarPath, i), event(fmt.Sprintf("held%d", i), "DTSTART:20260310T090000Z")).Code
			})
		}
		synctest.Wait() // all of them wait for what is held
		s.crash()
		hold.Release()
		wg.Wait()
		for i, code := range codes {
			if code < 300 {
				t.Errorf("request %d was answered %d although nothing was durable", i, code)
			}
		}
		got := s.checkStorage(t, "work")
		if diff := cmp.Diff(slices.Sorted(maps.Keys(acked)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Fatalf("round %d: objects after the crash (-want +got):\n%s", round, diff)
		}
		for name, data := range acked {
			if got[name] != data {
				t.Errorf("round %d: %s has other bytes than were answered", round, name)
			}
		}
	}
}

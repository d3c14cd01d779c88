package worker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/davserver"
)

func says(from source, user, calendar string, events ...string) string {
	return fmt.Sprintf("%d: %s %q %q", from, user, calendar, events)
}

// TestNews puts changes together that wait while another is told.
func TestNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		resume := make(chan struct{})
		n := &news{deliver: func(_ context.Context, from source, c calendar.Change) error {
			<-resume
			told = append(told, says(from, c.User, c.Calendar, c.Events...))
			return nil
		}}
		n.add(written, calendar.Change{User: "ann", Calendar: "a", Events: []string{"1"}})
		synctest.Wait() // that one is being told
		for range 3 {
			n.add(written, calendar.Change{User: "ann", Calendar: "a", Events: []string{"1", "2"}})
			n.add(refreshed, calendar.Change{User: "ann", Calendar: "a", Events: []string{"3"}})
			n.add(written, calendar.Change{User: "bob", Calendars: true})
		}
		n.add(written, calendar.Change{User: "ann", Calendar: "a", Events: []string{"4"}})
		many := make([]string, maxEvents)
		for i := range many {
			many[i] = fmt.Sprint("m", i)
		}
		n.add(davClient, calendar.Change{User: "ann", Calendar: "a", Events: many})
		n.add(davClient, calendar.Change{User: "ann", Calendar: "a", Events: []string{"one more"}})
		n.add(davClient, calendar.Change{User: "ann", Calendar: "a", Events: []string{"and another"}}) // any stays any
		close(resume)
		synctest.Wait()
		want := []string{
			says(written, "ann", "a", "1"), says(written, "ann", "a", "1", "2", "4"), says(refreshed, "ann", "a", "3"),
			says(written, "bob", ""), says(davClient, "ann", "a"),
		}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		n.mu.Lock()
		if n.working || len(n.users) != 0 || len(n.order) != 0 {
			t.Errorf("something is left: %v %v", n.users, n.order)
		}
		n.mu.Unlock()
		n.add(written, calendar.Change{User: "ann", Calendars: true})
		synctest.Wait()
		if got := told[len(told)-1]; got != says(written, "ann", "") {
			t.Errorf("told %q after a rest", got)
		}
		n.close()
		n.add(written, calendar.Change{User: "ann", Calendars: true})
		synctest.Wait()
		if len(told) != len(want)+1 {
			t.Errorf("told %q after the end", told)
		}
	})
}

// TestNewsCloses ends while something is told.
func TestNewsCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &news{deliver: func(ctx context.Context, _ source, _ calendar.Change) error {
			<-ctx.Done()
			return errors.New("ended")
		}}
		n.add(written, calendar.Change{User: "ann", Calendars: true})
		n.add(written, calendar.Change{User: "bob", Calendars: true})
		n.close()
		n.close()
	})
}

// quiet returns when nothing waits to be told.
func (n *news) quiet() {
	for {
		n.mu.Lock()
		working, done := n.working, n.done
		n.mu.Unlock()
		if !working {
			return
		}
		<-done
	}
}

// TestDAVChanges has ids of changes through /dav/ that are those which the service shows.
func TestDAVChanges(t *testing.T) {
	b := newBed(t, Options{})
	ann, secret := b.add("ann")
	b.news.quiet() // her first calendars have been told
	told := make(chan calendar.Change, 100)
	b.news.deliver = func(_ context.Context, from source, c calendar.Change) error {
		if from == davClient {
			told <- c
		}
		return nil
	}
	for _, name := range []string{"plain", "sp ace", "ümlaut"} {
		if code := b.dav("MKCALENDAR", "/dav/calendars/ann/"+url.PathEscape(name)+"/", "", "ann", secret); code != 201 {
			t.Fatalf("MKCALENDAR %q = %d", name, code)
		}
		for _, object := range []string{"x.ics", "a b.ics", "no-suffix"} {
			path := "/dav/calendars/ann/" + url.PathEscape(name) + "/" + url.PathEscape(object)
			if code := b.dav("PUT", path, fmt.Sprintf(event, "uid-"+object), "ann", secret); code != 201 {
				t.Fatalf("PUT %s = %d", path, code)
			}
		}
	}
	list, err := b.calendar.User(ann.ID).ListEvents(t.Context(), calendar.Query{Start: "2026-01-01", End: "2026-01-03"})
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]bool)
	for _, e := range list.Events {
		shown[e.CalendarID+" "+e.ID] = true
	}
	if len(shown) != 9 {
		t.Fatalf("shown are %v, want nine", shown)
	}
	for left := shown; len(left) > 0; {
		c := <-told
		for _, id := range c.Events {
			if c.User != ann.ID || !shown[c.Calendar+" "+id] {
				t.Fatalf("told of %+v, want one of %v", c, shown)
			}
			delete(left, c.Calendar+" "+id)
		}
	}
}

// TestWhatIsTold has changes from each source of users whose calendars are here and
// elsewhere: what the calendar server here says counts for the former only, what a refresh
// finds for the latter.
func TestWhatIsTold(t *testing.T) {
	b := newBed(t, Options{})
	here, _ := b.add("ann")
	elsewhere, _ := b.add("bob")
	if code, body := b.control("PUT", "/users/bob/credential", `{"server":"https://nc.example","username":"u","password":"p"}`); code != 200 {
		t.Fatal(code, body)
	}
	for _, tt := range []struct {
		user string
		from source
		want bool
	}{
		{here.ID, written, true}, {here.ID, davClient, true}, {here.ID, refreshed, false},
		{elsewhere.ID, written, true}, {elsewhere.ID, davClient, false}, {elsewhere.ID, refreshed, true},
		{"u_nobody", refreshed, false}, {"u_nobody", davClient, false},
	} {
		if got, _ := b.counts(t.Context(), tt.from, tt.user); got != tt.want {
			t.Errorf("a change of %s from %d counts: %t, want %t", tt.user, tt.from, got, tt.want)
		}
	}
	b.davChanged(davserver.Change{UserID: here.ID, Calendar: "x"})
}

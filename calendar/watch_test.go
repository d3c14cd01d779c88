package calendar_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar"
	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/calendar/caldav"
)

func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTestbed(t, nil)
		b.server.make("work")
		b.server.make("hidden")
		if _, err := b.ChangeSettings(t.Context(), calendar.SettingsChange{HiddenCalendars: calendar.To([]string{"hidden"})}); err != nil {
			t.Fatal(err)
		}
		b.takeChanges()
		refresh := func(what string, again time.Duration, ids []string, usual bool, requests ...string) {
			t.Helper()
			b.server.requests()
			got, err := b.Refresh(t.Context(), ids, usual)
			if err != nil || got != again {
				t.Errorf("%s: again in %v, %v, want %v", what, got, err, again)
			}
			b.wantRequests(t, what, requests...)
		}
		const ttl = 5 * time.Minute
		refresh("cold", ttl, []string{"work", "none"}, false, "PROPFIND alice/work/", "sync-collection alice/work/")
		refresh("another", ttl, nil, true, "PROPFIND alice/personal/", "sync-collection alice/personal/")
		time.Sleep(4 * time.Minute)
		refresh("within the TTL", time.Minute, []string{"work"}, true)
		b.server.put("personal", "a.ics", simple("a"))
		time.Sleep(time.Minute)
		refresh("after it", ttl, []string{"work"}, true, "PROPFIND alice/",
			"sync-collection alice/personal/", "calendar-multiget alice/personal/")
		if diff := cmp.Diff([]calendar.Change{{User: "alice", Calendar: "personal", Events: []string{"a"}}}, b.takeChanges()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		b.server.setDown(true)
		time.Sleep(ttl)
		if got, err := b.Refresh(t.Context(), nil, true); err != nil || got != ttl {
			t.Errorf("while the server is down: again in %v, %v", got, err)
		}
		refresh("right after an outage", ttl, nil, true)
		b.server.setDown(false)
		time.Sleep(ttl)
		refresh("after the outage", ttl, []string{"hidden"}, true, "PROPFIND alice/", "sync-collection alice/hidden/")
	})
}

// One calendar that can't be read keeps nobody from hearing of the others.
func TestRefreshOverACalendar(t *testing.T) {
	b := newTestbed(t, nil)
	b.server.make("a-private")
	svc := b.newService(t, roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == "REPORT" && strings.Contains(r.URL.Path, "a-private") {
			return &http.Response{StatusCode: 403, Status: "403 Forbidden", Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		}
		return b.server.RoundTrip(r)
	}), nil)
	if again, err := svc.User("alice").Refresh(t.Context(), nil, true); !errors.Is(err, calendar.ErrForbidden) || again <= 0 || again > 5*time.Minute {
		t.Errorf("Refresh = %v, %v, want what is wrong with one", again, err)
	}
	if requests := b.server.requests(); !slices.Contains(requests, "sync-collection alice/personal/") {
		t.Errorf("requests %q, want the other calendar's among them", requests)
	}
}

// A server within the process tells at once what changes, and is not asked.
func TestRefreshInside(t *testing.T) {
	b := newTestbed(t, nil)
	client, err := caldav.New("http://localhost/dav/", &caldav.Options{Transport: b.server})
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("gone")
	svc := calendar.New(func(_ context.Context, user string) (calendar.Account, error) {
		if user != "alice" {
			return calendar.Account{}, gone
		}
		return calendar.Account{Client: client, Inside: true, AlwaysCheck: true}, nil
	}, b.rt.Namespace(calcache.ClassName), b.settings, &calendar.Options{TTL: time.Hour})
	defer svc.Close()
	if again, err := svc.User("alice").Refresh(t.Context(), []string{"personal"}, true); again != time.Hour || err != nil {
		t.Errorf("Refresh = %v, %v", again, err)
	}
	b.wantRequests(t, "a refresh of a server inside")
	if again, err := svc.User("bob").Refresh(t.Context(), nil, true); again != time.Hour || !errors.Is(err, gone) {
		t.Errorf("Refresh of nobody = %v, %v", again, err)
	}
}

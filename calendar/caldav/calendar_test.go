package caldav

import (
	"errors"
	"net/http"
	"testing"
)

// propfindOf answers with one calendar-like collection.
func propfindOf(kind, props string) string {
	return multi(`<d:response><d:href>` + calHref + `</d:href><d:propstat><d:prop xmlns:nc="http://nextcloud.com/ns" xmlns:oc="http://owncloud.org/ns">` +
		`<d:resourcetype><d:collection/>` + kind + `</d:resourcetype>` + props + `</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`)
}

const allPrivileges = `<d:current-user-privilege-set><d:privilege><d:all/></d:privilege></d:current-user-privilege-set>`

// TestCalendarType: with caching of subscriptions on, Nextcloud shows one as a calendar
// besides its own type.
func TestCalendarType(t *testing.T) {
	for kind, want := range map[string]bool{
		`<c:calendar/>`:                          true,
		`<c:calendar/><cs:shared/>`:              true,
		``:                                       false,
		`<c:schedule-inbox/>`:                    false,
		`<calendar xmlns="DAV:"/>`:               false,
		`<c:calendar/><cs:subscribed/>`:          false,
		`<c:calendar/><nc:deleted-calendar/>`:    false,
		`<nc:deleted-calendar/><cs:subscribed/>`: false,
	} {
		rt := roundTripper(func(req *http.Request) (*http.Response, error) {
			return newResponseTo(req, 207, propfindOf(kind, "")), nil
		})
		c := newTestClient(t, rt, nil)
		_, err := c.GetCalendar(t.Context(), calHref)
		list, err2 := c.ListCalendars(t.Context(), Home{Sets: []string{"/dav/"}})
		if (err == nil) != want || err2 != nil || len(list) == 1 != want {
			t.Errorf("%s: GetCalendar %v, ListCalendars %d calendars, %v, want a calendar: %t", kind, err, len(list), err2, want)
		}
		if !want && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: GetCalendar = %v, want ErrNotFound", kind, err)
		}
	}
}

// TestReadOnlyMark: Nextcloud's mark counts even where the privileges say otherwise.
func TestReadOnlyMark(t *testing.T) {
	for mark, want := range map[string]bool{"": false, "<oc:read-only/>": false, "<oc:read-only>1</oc:read-only>": true} {
		rt := roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPut {
				resp := newResponseTo(req, 201, "")
				resp.Header.Set("ETag", `"1"`)
				return resp, nil
			}
			return newResponseTo(req, 207, propfindOf("<c:calendar/>", allPrivileges+mark)), nil
		})
		c := newTestClient(t, rt, nil)
		cal, err := c.GetCalendar(t.Context(), calHref)
		if err != nil || cal.ReadOnly() != want {
			t.Errorf("%q: ReadOnly = %t, %v, want %t", mark, cal.ReadOnly(), err, want)
		}
		if _, err := c.CreateObject(t.Context(), calHref+"a.ics", nil); errors.Is(err, ErrReadOnly) != want {
			t.Errorf("%q: CreateObject = %v, want read-only %t", mark, err, want)
		}
	}
}

func TestPrivileges(t *testing.T) {
	for _, tt := range []struct {
		p    Privileges
		name string
		want bool
	}{
		{nil, "bind", true},
		{Privileges{}, "read", false},
		{Privileges{"all"}, "unbind", true},
		{Privileges{"write"}, "write-content", true},
		{Privileges{"write"}, "read", false},
		{Privileges{"write"}, "write-acl", false},
		{Privileges{"write-properties", "read"}, "bind", false},
		{Privileges{"write-properties", "read"}, "write-properties", true},
	} {
		if got := tt.p.Has(tt.name); got != tt.want {
			t.Errorf("%q.Has(%s) = %t, want %t", tt.p, tt.name, got, tt.want)
		}
	}
}

func TestSharedWith(t *testing.T) {
	for _, tt := range []struct {
		cal  Calendar
		want bool
	}{
		{Calendar{Owner: "/p/alice/"}, false},
		{Calendar{Owner: "/p/alice"}, false},
		{Calendar{Owner: "/p/bob/"}, true},
		{Calendar{}, false},
		{Calendar{Owner: "urn:x"}, false},
		{Calendar{SharedToMe: true}, true},
	} {
		if got := tt.cal.SharedWith("/p/alice/"); got != tt.want {
			t.Errorf("%+v.SharedWith = %t, want %t", tt.cal, got, tt.want)
		}
	}
}

func TestBackwards(t *testing.T) {
	for _, tt := range []struct {
		before, now string
		want        bool
	}{
		{"http://sabre.io/ns/sync/9", "http://sabre.io/ns/sync/10", false},
		{"http://sabre.io/ns/sync/10", "http://sabre.io/ns/sync/9", true},
		{"http://sabre.io/ns/sync/9", "http://sabre.io/ns/sync/9", false},
		{"7", "6", true},
		{"", "6", false},
		{"http://radicale.org/ns/sync/9a7", "http://radicale.org/ns/sync/1b2", false},
		{"urn:perdure:a-9", "urn:perdure:b-3", false},
		{"urn:perdure:a-9", "urn:perdure:a-3", true},
	} {
		if got := backwards(tt.before, tt.now); got != tt.want {
			t.Errorf("backwards(%q, %q) = %t, want %t", tt.before, tt.now, got, tt.want)
		}
	}
}

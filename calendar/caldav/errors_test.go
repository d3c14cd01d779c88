package caldav

import (
	"encoding/xml"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestStatusError(t *testing.T) {
	all := []error{
		ErrUnauthorized, ErrForbidden, ErrNotFound, ErrExists, ErrConflict, ErrPreconditionFailed, ErrUIDConflict, ErrInvalid,
		ErrLocked, ErrQuota, ErrRateLimited, ErrUnavailable, ErrServer, ErrSyncTokenInvalid, ErrTooLarge,
	}
	for _, tt := range []struct {
		method    string
		status    int
		condition xml.Name
		message   string
		want      []error
	}{
		{"GET", 400, xml.Name{}, "", []error{ErrInvalid}},
		{"GET", 401, xml.Name{}, "", []error{ErrUnauthorized}},
		{"GET", 403, xml.Name{}, "", []error{ErrForbidden}},
		{"GET", 404, xml.Name{}, "", []error{ErrNotFound}},
		{"GET", 410, xml.Name{}, "", []error{ErrNotFound}},
		{"GET", 405, xml.Name{}, "", nil},
		{"MKCALENDAR", 405, xml.Name{}, "", []error{ErrExists}},
		{"MKCALENDAR", 409, dav("resource-must-be-null"), "", []error{ErrExists}},
		{"MKCALENDAR", 403, dav("resource-must-be-null"), "", []error{ErrExists}},
		{"MKCALENDAR", 409, xml.Name{}, "", []error{ErrConflict}},
		{"PUT", 412, xml.Name{}, "", []error{ErrPreconditionFailed}},
		{"PUT", 412, caldav("no-uid-conflict"), "", []error{ErrUIDConflict}},
		{"PUT", 409, caldav("no-uid-conflict"), "", []error{ErrUIDConflict, ErrConflict}},
		{"PUT", 403, caldav("no-uid-conflict"), "", []error{ErrUIDConflict}},
		{"PUT", 400, xml.Name{}, "Calendar object with uid already exists in this calendar collection.", []error{ErrUIDConflict}},
		{"PUT", 500, xml.Name{}, `duplicate key value violates unique constraint "calobjects_by_uid_index"`, []error{ErrUIDConflict}},
		{"PUT", 500, xml.Name{}, "database is locked", []error{ErrServer}},
		{"PUT", 403, caldav("valid-calendar-data"), "", []error{ErrForbidden, ErrInvalid}},
		{"PUT", 403, caldav("max-resource-size"), "", []error{ErrForbidden, ErrTooLarge}},
		{"PUT", 413, xml.Name{}, "", []error{ErrTooLarge}},
		{"PUT", 415, xml.Name{}, "", []error{ErrInvalid}},
		{"PUT", 423, xml.Name{}, "", []error{ErrLocked}},
		{"PUT", 429, xml.Name{}, "", []error{ErrRateLimited}},
		{"PUT", 507, xml.Name{}, "", []error{ErrQuota}},
		{"REPORT", 403, dav("valid-sync-token"), "", []error{ErrSyncTokenInvalid}},
		{"REPORT", 500, xml.Name{}, "", []error{ErrServer}},
		{"REPORT", 501, xml.Name{}, "", []error{ErrServer}},
		{"REPORT", 503, xml.Name{}, "", []error{ErrServer, ErrUnavailable}},
	} {
		e := &StatusError{Method: tt.method, Href: "/x", Status: tt.status, Message: tt.message}
		if tt.condition.Local != "" {
			e.Preconditions = []xml.Name{tt.condition}
		}
		for _, known := range all {
			want := false
			for _, w := range tt.want {
				want = want || w == known
			}
			if got := errors.Is(e, known); got != want {
				t.Errorf("%v: Is(%v) = %t, want %t", e, known, got, want)
			}
		}
	}
}

// TestErrorTexts: one line each, whatever the server put in.
func TestErrorTexts(t *testing.T) {
	e := &StatusError{Method: "PUT", Href: "/x", Status: 429, RetryAfter: 90 * time.Second, Remembered: true,
		Preconditions: []xml.Name{caldav("y")}, Message: clip("a\r\nb\x1b[31m\x00"+strings.Repeat("ä", 300), 300)}
	want := `PUT /x: 429 Too Many Requests (from an earlier answer), retry after 1m30s, y: "ab[31m`
	if got := e.Error(); !strings.HasPrefix(got, want) || strings.ContainsAny(got, "\r\n\x1b") || len(got) > 400 {
		t.Errorf("Error() = %q, want it to begin with %q", got, want)
	}
	var props []PropStatus
	for range 20 {
		props = append(props, PropStatus{dav(strings.Repeat("p", 100)), 403})
	}
	if got := (&PropError{Href: "/x", Props: props}).Error(); !strings.HasSuffix(got, " and 12 more") || len(got) > 700 {
		t.Errorf("PropError = %q", got)
	}
}

package calmcp_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perdure/perdure/calendar/calmcp"
)

func TestCreateAndList(t *testing.T) {
	b := newBed(t)
	b.mkcalendar("alice", "personal")
	cl := b.connect(calmcp.Caller{User: "alice"})
	cl.ok("createEvent", `{"title":"Dentist","start":"2026-03-10T09:00"}`)
	got := cl.ok("listEvents", `{"start":"2026-03-01"}`)
	if diff := cmp.Diff([]string{"Dentist"}, got.titles()); diff != "" {
		t.Errorf("titles (-want +got):\n%s", diff)
	}
}

package davserver

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/durabletest"
)

// checkStorage looks at what a calendar has stored: that objects, their pieces, UIDs,
// index and change log say the same (invariants 1 and 2), and nothing else is there.
// It returns the objects by name.
func (s *testServer) checkStorage(t testing.TB, name string) map[string]string {
	t.Helper()
	objects := make(map[string]string)
	want := make(map[string]bool)
	got := make(map[string]bool)
	err := durabletest.Run(t.Context(), s.stub(name), func(ctx context.Context, st *durable.State, c *calendar) error {
		values := make(map[string]durable.Value)
		for e, err := range st.Storage().List(ctx, durable.ListOptions{}) {
			if err != nil {
				return err
			}
			values[e.Key] = e.Value
			got[e.Key] = true
		}
		var rec calendarRecord
		if err := values[recordKey].Decode(&rec); err != nil {
			return err
		}
		want[recordKey] = true
		for seq := max(int64(rec.Seq)-keepChanges, 0) + 1; seq <= int64(rec.Seq); seq++ {
			want[logKey(uint64(seq))] = true
		}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if strings.HasPrefix(key, propPrefix) {
				want[key] = true
			}
			obj, ok := strings.CutPrefix(key, objectPrefix)
			if !ok {
				continue
			}
			var o objectRecord
			if err := values[key].Decode(&o); err != nil {
				return err
			}
			want[key] = true
			var data []byte
			for _, k := range pieceKeys(obj, o.pieces()) {
				var piece []byte
				if err := values[k].Decode(&piece); err != nil {
					t.Errorf("%s: piece %q: %v", obj, k, err)
				}
				data = append(data, piece...)
				want[k] = true
			}
			if len(data) != o.Size || etagOf(data) != o.ETag {
				t.Errorf("%s: %d bytes with tag %s, want %d with %s", obj, len(data), etagOf(data), o.Size, o.ETag)
			}
			var last int64
			if err := values[o.Span.key(obj)].Decode(&last); err != nil || last != o.Span.Last {
				t.Errorf("%s: index has %d, %v, want %d", obj, last, err, o.Span.Last)
			}
			want[o.Span.key(obj)] = true
			var owner string
			if err := values[uidPrefix+o.UID].Decode(&owner); err != nil || owner != obj {
				t.Errorf("%s: UID belongs to %q, %v", obj, owner, err)
			}
			want[uidPrefix+o.UID] = true
			objects[obj] = string(data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys of calendar %s (-want +got):\n%s", name, diff)
	}
	return objects
}

func TestIndexKeys(t *testing.T) {
	// The keys of a level are in the order of what begins when, before 1970 too.
	last := ""
	for _, first := range []int64{always, -1 << 40, -1, 0, 1, 1 << 40, forever} {
		key := levelKey(2, first)
		if key <= last {
			t.Errorf("levelKey(2, %d) = %x, not greater than %x", first, key, last)
		}
		last = key
		if got := int64(binary.BigEndian.Uint64([]byte(key[2:])) ^ 1<<63); got != first || len(key) != levelKeyLen {
			t.Errorf("levelKey(2, %d) holds %d in %d bytes", first, got, len(key))
		}
	}
	for _, tt := range []struct {
		s    span
		want int
	}{
		{span{0, 0}, 0}, {span{-2 * day, 2 * day}, 0}, {span{0, 4*day + 1}, 1}, {span{0, 64 * day}, 1},
		{span{0, 65 * day}, 2}, {span{0, 1025 * day}, 3}, {span{0, forever}, 3}, {span{always, 0}, 3}, {span{always, forever}, 3},
	} {
		if got := tt.s.level(); got != tt.want {
			t.Errorf("%+v.level() = %d, want %d", tt.s, got, tt.want)
		}
	}
}

// TestIndexIsRead: a query for a day looks at the objects around that day, however
// many there are, and at those that have no bound.
func TestIndexIsRead(t *testing.T) {
	s := newTestServer(t, nil)
	s.mkcalendar()
	begin := time.Date(2020, 1, 1, 9, 0, 0, 0, time.UTC)
	for i := range 400 {
		at := begin.AddDate(0, 0, i*7)
		s.must(201, "PUT", fmt.Sprintf("%s%d.ics", calendarPath, i), event(fmt.Sprint(i), "DTSTART:"+at.Format("20060102T150405Z"), "DURATION:PT1H"))
	}
	s.must(201, "PUT", calendarPath+"forever.ics", event("forever", "DTSTART:20200101T090000Z", "RRULE:FREQ=WEEKLY"))
	s.must(201, "PUT", calendarPath+"long.ics", event("long", "DTSTART:20230101T000000Z", "DTEND:20240101T000000Z"))
	s.must(201, "PUT", calendarPath+"over.ics", event("over", "DTSTART:20150101T000000Z", "DTEND:20220101T000000Z"))
	day := begin.AddDate(0, 0, 200*7)
	names, err := inRange(t.Context(), s.stub("work"), &timeRange{day, day.Add(time.Hour)})
	if diff := cmp.Diff([]string{"200.ics", "forever.ics", "long.ics"}, names); diff != "" || err != nil {
		t.Errorf("inRange(%v), error %v (-want +got):\n%s", day, err, diff)
	}

	// Pages, however small, are the same in the end.
	args := rangeArgs{Start: always, End: forever, Limit: 7}
	seen := make(map[string]int)
	for more := true; more; {
		page, err := durable.Call(t.Context(), s.stub("work"), (*calendar).InRange, args)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range page.Names {
			seen[name]++
		}
		args.From, more = page.Next, page.More
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s is on %d pages", name, n)
		}
	}
	if len(seen) != 403 {
		t.Errorf("the pages have %d objects, want 403", len(seen))
	}
}

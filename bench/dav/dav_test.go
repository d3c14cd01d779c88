package main

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestRun measures a small calendar: all servers must answer alike, and as much as there
// is. The run itself fails where an answer is not that of the moment.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server")
	}
	var out strings.Builder
	if err := run(t.Context(), &out, 200, 1, ""); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{
		"PROPFIND, all entity tags":                    "201",
		"calendar-multiget, 100":                       "100",
		"sync-collection, initial":                     "200",
		"sync-collection, 20 changed":                  "20",
		"sync-collection, nothing changed":             "0",
		"a week, without the service: everything read": "200",
		"calendars, warm":                              "1",
	} {
		m := regexp.MustCompile(`\| ` + what + ` +\| ([^|]*?) +\|`).FindStringSubmatch(out.String())
		if m == nil || m[1] != want {
			t.Errorf("answers of %q: %q, want %s", what, m, want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		list []time.Duration
		want time.Duration
	}{{[]time.Duration{5}, 5}, {[]time.Duration{9, 1, 2}, 2}, {[]time.Duration{8, 1, 2, 4}, 3}} {
		if got := median(c.list); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.list, got, c.want)
		}
	}
}

func TestCounts(t *testing.T) {
	if got := counts([]int{3, 3}) + ", " + counts([]int{3, 4}); got != "3, 3 / 4" {
		t.Errorf("counts = %q, want %q", got, "3, 3 / 4")
	}
}

package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain makes the test binary the servers, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestRun measures so little that it says nothing but that the program works.
func TestRun(t *testing.T) {
	var out strings.Builder
	b := &bench{out: &out, rounds: 1, length: 10 * time.Millisecond, clients: []int{1, 3}, sessions: 5, idle: time.Millisecond}
	if err := b.run(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| 2026-07-28 | perdure | listEvents, a day with 10 | 3 |", "| 2025-11-25 | bare SDK | an empty tool | 1 |", "until all have"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

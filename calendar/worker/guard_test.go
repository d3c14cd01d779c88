package worker

import (
	"fmt"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// try is an attempt to log in; it returns whether it was let through to the check.
func (g *guard) try(key guardKey, now time.Time, ok bool) bool {
	paid, wait := g.begin(key, now)
	if wait > 0 {
		return false
	}
	g.end(key, now, paid, ok)
	return true
}

func TestGuard(t *testing.T) {
	g, key, now := new(guard), keyOf("192.0.2.1:5000", "ann"), noon
	for i := range guardBurst {
		if !g.try(key, now, false) {
			t.Fatalf("attempt %d was held back", i)
		}
	}
	if g.try(key, now, true) {
		t.Error("an attempt after all that were free was let through")
	}
	if _, wait := g.begin(key, now); wait != guardEvery {
		t.Errorf("wait = %v, want %v", wait, guardEvery)
	}
	for _, other := range []guardKey{keyOf("192.0.2.1:5000", "bob"), keyOf("192.0.2.2:5000", "ann")} {
		if !g.try(other, now, false) {
			t.Error("somebody else was held back")
		}
	}
	now = now.Add(guardEvery)
	if !g.try(key, now, true) {
		t.Error("the right secret was held back after the wait")
	}
	if !g.try(key, now, false) || g.try(key, now, false) {
		t.Error("a success is to be paid back, and a failure not")
	}

	// Many at once: each is paid for before it is checked.
	now = now.Add(3 * guardEvery)
	through := 0
	for range 100 {
		if _, wait := g.begin(key, now); wait == 0 {
			through++
		}
	}
	if through != 3 {
		t.Errorf("%d of 100 at once were let through, want 3", through)
	}

	// In the end everything is forgiven.
	now = now.Add(time.Hour)
	if !g.try(key, now, true) || len(g.buckets) != 2 {
		t.Errorf("%d buckets, want those of the two others only", len(g.buckets))
	}
}

// TestGuardCountsNoSuccess has a user with many requests at once, none of which fails.
func TestGuardCountsNoSuccess(t *testing.T) {
	g, key := new(guard), keyOf("192.0.2.1:5000", "ann")
	for range 1000 {
		if _, wait := g.begin(key, noon); wait > 0 {
			t.Fatal("held back without any failure")
		}
	}
	if len(g.buckets) != 0 {
		t.Errorf("%d buckets, want none", len(g.buckets))
	}
}

func TestGuardIsBounded(t *testing.T) {
	g := new(guard)
	for i := range maxGuarded + 100 {
		g.try(keyOf("192.0.2.1:5000", fmt.Sprint(i)), noon, false)
	}
	if n := len(g.buckets); n > maxGuarded {
		t.Errorf("%d buckets, want at most %d", n, maxGuarded)
	}
}

func TestKeyOf(t *testing.T) {
	same := func(a, b string, want bool) {
		t.Helper()
		if got := keyOf(a, "ann") == keyOf(b, "ann"); got != want {
			t.Errorf("keys of %s and %s are the same: %t, want %t", a, b, got, want)
		}
	}
	same("192.0.2.1:1", "192.0.2.1:2", true)
	same("192.0.2.1:1", "192.0.2.2:1", false)
	same("[2001:db8::1]:1", "[2001:db8::2]:1", true)
	same("[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false)
	same("[::ffff:192.0.2.1]:1", "192.0.2.1:1", true)
	same("[fe80::1%eth0]:1", "[fe80::1]:1", true)
	if keyOf("a", "b") == keyOf("a\x00b", "") {
		t.Log("addresses hold no NUL: they come from the listener")
	}
}

package expiry

import (
	"strings"
	"testing"
	"time"
)

func TestLookupTTL(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": time.Hour, "90m": 90 * time.Minute, "1ms": time.Millisecond, "1.5ms": time.Millisecond, "1000h": 1000 * time.Hour,
	} {
		got, err := LookupTTL(func(string) string { return value }, "X_TTL", time.Hour)
		if time.Duration(got) != want || err != nil {
			t.Errorf("LookupTTL of %q = %v, %v, want %v", value, time.Duration(got), err, want)
		}
	}
	for _, value := range []string{"1", "0", "0s", "-1s", "1us", "h", " 1h", "1e400h"} {
		_, err := LookupTTL(func(string) string { return value }, "X_TTL", time.Hour)
		if err == nil || !strings.Contains(err.Error(), "X_TTL") {
			t.Errorf("LookupTTL of %q: %v, want an error that names the variable", value, err)
		}
	}
}

// Due is never before the end, at most a step after it, and after now for what is alive.
func TestDue(t *testing.T) {
	for _, d := range []time.Duration{time.Millisecond, 59 * time.Millisecond, time.Second, 5 * time.Minute, 24 * time.Hour, 7*time.Hour + 13*time.Millisecond} {
		ttl := TTL(d)
		for since := int64(1_700_000_000_000); since < 1_700_000_000_000+3*ttl.Step(); since += max(1, ttl.Step()/50) {
			end, due := since+ttl.Millis(), ttl.Due(since)
			if due < end || due >= end+ttl.Step() {
				t.Errorf("%v: Due(%d) = %d, want in [%d, %d)", d, since, due, end, end+ttl.Step())
			}
			if !ttl.Expired(since, due) || !ttl.Expired(since, end) || ttl.Expired(since, end-1) {
				t.Errorf("%v: Expired is wrong near the end of %d", d, since)
			}
		}
	}
}

func TestKeysAreInOrderOfTime(t *testing.T) {
	times := []int64{0, 9, 10, 999_999_999_999, 1_000_000_000_000, 9_999_999_999_999, 99_999_999_999_999}
	for i, due := range times[1:] {
		if a, b := Key(times[i], "z"), Key(due, ""); a >= b {
			t.Errorf("Key of %d = %q, not before %q of %d", times[i], a, b, due)
		}
	}
}

// Package expiry forgets things in time: lifetimes as they are configured, and an
// index by which an alarm finds what expired without looking at what did not.
package expiry

import (
	"fmt"
	"time"
)

// TTL is a lifetime, a whole number of milliseconds and at least one.
type TTL time.Duration

// LookupTTL returns the lifetime that the variable called name says, as a Go
// duration ("90m"), or otherwise if the variable is empty. The error names the variable.
func LookupTTL(lookup func(string) string, name string, otherwise time.Duration) (TTL, error) {
	text := lookup(name)
	if text == "" {
		return TTL(otherwise), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("variable %s: %q is not a duration such as 90m or 1h30m", name, text)
	}
	if d < time.Millisecond {
		return 0, fmt.Errorf("variable %s: %q is too short: 1ms is the shortest", name, text)
	}
	return TTL(d.Truncate(time.Millisecond)), nil
}

// Millis returns the lifetime in milliseconds.
func (t TTL) Millis() int64 { return time.Duration(t).Milliseconds() }

// Expired reports whether something of time since is gone at time now, both in
// Unix milliseconds. At the end of its lifetime it is.
func (t TTL) Expired(since, now int64) bool { return now-since >= t.Millis() }

// Step is the grain of lifetimes, in milliseconds: a 60th. What is renewed again
// and again is written once in a step, and the alarm runs at most once in a step.
func (t TTL) Step() int64 { return max(t.Millis()/60, 1) }

// Due returns when something of time since is to be swept: at the end of the
// step in which it expires.
func (t TTL) Due(since int64) int64 {
	step := t.Step()
	return (since + t.Millis() + step - 1) / step * step
}

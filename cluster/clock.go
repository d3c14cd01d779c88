package cluster

import "time"

// Reading is what a node's two clocks show at one moment. Only differences count.
type Reading struct {
	Boot time.Duration // never set by anyone; stands still in suspend on some systems
	Wall time.Duration // goes on in suspend; may be set to anything at any time
}

// elapsed adds up how much time may have passed on this machine: between two
// readings the larger of what the clocks say. What a node may still do is
// measured with it, and so a suspend that one of the clocks has missed, or a wall clock
// that was put back, never lengthens a lease. What others must no longer do is
// measured with Boot alone: a wall clock that was put forward must not shorten a wait.
type elapsed struct {
	last  Reading
	total time.Duration
}

// at returns the time on this scale at a reading not before the last.
func (e *elapsed) at(r Reading) time.Duration {
	return e.total + max(r.Boot-e.last.Boot, r.Wall-e.last.Wall, 0)
}

func (e *elapsed) advance(r Reading) time.Duration {
	e.total, e.last = e.at(r), r
	return e.total
}

var started = time.Now()

// readClocks reads this machine's clocks.
func readClocks() Reading {
	return Reading{Boot: bootTime(), Wall: time.Duration(time.Now().UnixNano())}
}

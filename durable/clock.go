package durable

import (
	"sync/atomic"
	"time"
)

// clock is wall time, shifted by what a test has set.
type clock struct{ shift atomic.Int64 }

func (c *clock) now() time.Time {
	now := time.Now().Round(0) // alarms are due by the wall clock, whatever happens to it
	if s := c.shift.Load(); s != 0 {
		now = now.Add(time.Duration(s))
	}
	return now
}

package cluster

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime is a clock that nobody sets and that goes on in suspend. Go's own
// monotonic clock does not.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Since(started)
	}
	return time.Duration(ts.Nano())
}

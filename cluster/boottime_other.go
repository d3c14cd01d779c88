//go:build !linux

package cluster

import "time"

// bootTime is a clock that nobody sets. On some systems it stands still in suspend:
// then the wall clock tells.
func bootTime() time.Duration { return time.Since(started) }

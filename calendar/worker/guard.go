package worker

import (
	"crypto/sha256"
	"net"
	"net/netip"
	"sync"
	"time"
)

// How often somebody at one address may fail to log in as one user: a few times at
// once, for people who mistype and programs that start together, and then seldom.
const (
	guardBurst = 20
	guardEvery = 5 * time.Second // one more
)

// maxGuarded bounds the memory, about 100 bytes each. Beyond it those that were good
// longest are forgotten.
const maxGuarded = 1 << 14

// guard bounds failed logins, per address and user, so that nobody is locked out by what
// happens elsewhere. It is a bucket for each pair that has failed of late, and asks no clock.
//
//  1. Where there were failures, an attempt is paid for before it is checked, so that many
//     at once don't slip through; what succeeds is paid back. Where there were none,
//     nothing is counted: any number of requests of a user may arrive at once.
type guard struct {
	mu      sync.Mutex
	buckets map[guardKey]bucket // guarded by mu; a missing one is full
}

type guardKey [sha256.Size]byte

// bucket is how many attempts were left at a time; they trickle in again since.
type bucket struct {
	left float64
	at   time.Time
}

func (b bucket) refilled(now time.Time) float64 {
	return min(guardBurst, b.left+float64(now.Sub(b.at))/float64(guardEvery))
}

// keyOf makes a key of a remote address and what was typed as a name, of any length. Of
// an IPv6 address the network counts: everybody has many.
func keyOf(remote, name string) guardKey {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap().WithZone("")
		if addr.Is6() {
			prefix, _ := addr.Prefix(64)
			addr = prefix.Addr()
		}
		host = addr.String()
	}
	return sha256.Sum256([]byte(host + "\x00" + name))
}

// begin comes before an attempt is checked. If there is nothing left to pay with, it
// returns how long that will be so. Otherwise end has to follow.
func (g *guard) begin(key guardKey, now time.Time) (paid bool, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, ok := g.buckets[key]
	if !ok {
		return false, 0
	}
	left := b.refilled(now)
	if left < 1 {
		return false, time.Duration((1 - left) * float64(guardEvery))
	}
	if left >= guardBurst {
		delete(g.buckets, key)
		return false, 0
	}
	g.buckets[key] = bucket{left - 1, now}
	return true, 0
}

// end tells how the attempt went.
func (g *guard) end(key guardKey, now time.Time, paid, ok bool) {
	if paid != ok { // a failure that has been paid for, or a success that cost nothing
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	b, known := g.buckets[key]
	left := float64(guardBurst)
	if known {
		left = b.refilled(now)
	}
	if ok {
		if known {
			g.buckets[key] = bucket{min(guardBurst, left+1), now}
		}
		return
	}
	if g.buckets == nil {
		g.buckets = make(map[guardKey]bucket)
	}
	if !known && len(g.buckets) >= maxGuarded {
		g.forgetLocked(now)
	}
	g.buckets[key] = bucket{max(0, left-1), now}
}

// forgetLocked makes room: the fullest of some goes.
func (g *guard) forgetLocked(now time.Time) {
	var fullest guardKey
	most, looked := -1.0, 0
	for key, b := range g.buckets {
		n := b.refilled(now)
		if n > most {
			fullest, most = key, n
		}
		if looked++; looked == 32 {
			break
		}
	}
	delete(g.buckets, fullest)
}

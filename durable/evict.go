package durable

import (
	"container/heap"
	"sync"
	"time"
)

// evictor drops objects that have been idle for Options.IdleTimeout. Each object
// in memory has one entry in a heap, which says when to look at it next; an event
// only stores when it ended.
type evictor struct {
	rt   *Runtime
	wake chan struct{} // capacity 1

	mu   sync.Mutex
	heap idleHeap
}

type idleEntry struct {
	at time.Duration
	o  *object
}

type idleHeap []idleEntry

func (h idleHeap) Len() int           { return len(h) }
func (h idleHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h idleHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *idleHeap) Push(x any)        { *h = append(*h, x.(idleEntry)) }
func (h *idleHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = idleEntry{}
	*h = old[:len(old)-1]
	return e
}

func newEvictor(rt *Runtime) *evictor {
	return &evictor{rt: rt, wake: make(chan struct{}, 1)}
}

func (e *evictor) watch(o *object) { e.push(idleEntry{e.rt.uptime() + e.rt.opts.IdleTimeout, o}) }

func (e *evictor) push(entry idleEntry) {
	e.mu.Lock()
	heap.Push(&e.heap, entry)
	first := e.heap[0].at == entry.at
	e.mu.Unlock()
	if first {
		select {
		case e.wake <- struct{}{}:
		default:
		}
	}
}

func (e *evictor) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(e.sweep())
		select {
		case <-timer.C:
		case <-e.wake:
		case <-e.rt.life.Done():
			return
		}
	}
}

// sweep looks at all objects whose time has come, and returns how long until the next.
func (e *evictor) sweep() time.Duration {
	for {
		now := e.rt.uptime()
		e.mu.Lock()
		if len(e.heap) == 0 {
			e.mu.Unlock()
			return time.Hour
		}
		if wait := e.heap[0].at - now; wait > 0 {
			e.mu.Unlock()
			return wait
		}
		o := heap.Pop(&e.heap).(idleEntry).o
		e.mu.Unlock()

		o.mu.Lock()
		next := o.lastUsed + e.rt.opts.IdleTimeout
		if o.inside > 0 {
			next = now + e.rt.opts.IdleTimeout
		}
		o.mu.Unlock()
		if next > now {
			e.push(idleEntry{next, o})
		} else if !e.rt.evict(o) {
			e.push(idleEntry{now + e.rt.opts.IdleTimeout, o})
		}
	}
}

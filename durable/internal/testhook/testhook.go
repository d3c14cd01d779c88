// Package testhook is the door through which package durabletest reaches into a
// runtime: what only tests may do is not part of package durable's API.
//
// Package durable sets the variables (see its hook.go) and package durabletest
// calls them; nobody changes them afterwards. Runtimes are *durable.Runtime, stubs
// *durable.Stub and states *durable.State. They are passed as any, since the
// package that defines them imports this one.
package testhook

import (
	"context"
	"time"
)

var (
	// RuntimeOf returns the runtime that a stub belongs to.
	RuntimeOf func(stub any) (rt any)

	// Label names a stub's object as logs do.
	Label func(stub any) string

	// Run runs fn as an event of the object; obj is what its constructor returned.
	Run func(ctx context.Context, stub any, fn func(ctx context.Context, st, obj any) error) error

	// RunAlarm runs the object's alarm handler now if an alarm is set, due or not.
	// A failure counts as any other; the error is the handler's, or says why it did not run.
	RunAlarm func(ctx context.Context, stub any) (ran bool, err error)

	// Evict lets the events that run or wait finish and drops the object from
	// memory. It returns an error if something still keeps it there.
	Evict func(ctx context.Context, stub any) error

	// EvictAll does that to every object in memory.
	EvictAll func(ctx context.Context, rt any) error

	// Resident reports whether the object has an instance in memory.
	Resident func(stub any) bool

	// SetShift sets how far the runtime's clock is ahead of time.Now.
	SetShift func(rt any, shift time.Duration)

	// Advance sets the shift and runs the alarms that are due then, one after the
	// other. With step the clock goes from one to the next, so that each runs at its time.
	Advance func(ctx context.Context, rt any, shift time.Duration, step bool) error

	// Wake makes the runtime look for alarms that are due.
	Wake func(rt any)

	// Kill ends the runtime as the death of its process would: nobody is told, nothing is saved.
	Kill func(rt any) error
)

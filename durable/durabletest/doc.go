// Package durabletest gives a test a runtime of its own: objects in memory, a
// clock that the test sets, and the accidents that durable objects are made for.
//
//	func TestCounter(t *testing.T) {
//		rt := durabletest.New(t, &durable.Options{Classes: []durable.Class{counter}})
//		a := rt.Namespace("Counter").Named("a")
//		if _, err := durable.Call(t.Context(), a, (*Counter).Add, 5); err != nil {
//			t.Fatal(err)
//		}
//
//		rt.Crash() // what Add has answered must have survived
//		a = rt.Namespace("Counter").Named("a")
//		if n, err := durable.Call(t.Context(), a, (*Counter).Add, 0); n != 5 || err != nil {
//			t.Fatalf("Add(0) after a crash = %d, %v, want 5", n, err)
//		}
//	}
//
// # What it can do
//
//   - [Run] runs a function inside an object, with its State and its Go value:
//     look at storage, plant what a bug would have left, call unexported methods.
//   - [Runtime.Objects] lists the objects that have data.
//   - [Runtime.SetTime] and [Runtime.Advance] rule the runtime's clock and run
//     the alarms that come due; [Runtime.RunAlarm] runs one at once.
//   - [Runtime.Evict] and [Runtime.EvictAll] put objects to sleep, so that the
//     next event makes a new instance; [Runtime.Resident] tells which are awake.
//   - [Runtime.Crash] takes the power away, [Runtime.Reopen] shuts down in order;
//     both go on with a new runtime on what the old one left.
//   - [Runtime.Store] is the engine: it can hold commits back and make them fail.
//
// # Time
//
// State.Now and alarms go by the runtime's clock, which SetTime and Advance move.
// Everything else (idle eviction, time limits, contexts, timers of the objects' own)
// goes by package time. In a bubble of testing/synctest that is fake, too: make the
// runtime inside the bubble, sleep, and all of it happens in no time.
//
//	synctest.Test(t, func(t *testing.T) {
//		rt := durabletest.New(t, opts)
//		...
//		time.Sleep(time.Hour) // alarms run, idle objects are evicted
//		synctest.Wait()
//	})
package durabletest

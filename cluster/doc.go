// Package cluster decides which node owns which objects, and runs a node's part in it.
// docs/cluster.md is the operator's view of the same: what is trusted, for how
// long, and what each failure does.
//
// # Authority
//
// The database is the only authority. It keeps one row for each incarnation of a
// node (a process from joining to losing its lease) and one for each shard, with an
// epoch. Objects hash onto a fixed number of shards. A commit names its shard's
// epoch, and the database refuses it if the epoch has moved on: nothing else is
// needed to keep writes in one hand, and no clock takes part.
//
// # Leases
//
// Reads are answered from memory, so a node must know by itself that it is still
// the owner. For that there is a lease, one for each incarnation, not one for each
// shard. A shard leaves an owner in two ways only: the owner released it, or the
// owner's incarnation was ended in the database, for good. Whoever wants to end
// another's incarnation has to see one renewal of it for the whole length of the
// lease by its own clock, and says which renewal that was; if there was another
// one meanwhile, the database refuses. The owner counts the same length from
// before it sent that renewal, less a margin for clocks that run apart.
//
// A process that holds everything has the same lease without being a node: [Alone].
//
// # The core
//
// [Core] takes all these decisions and does nothing else: no clock, no goroutine,
// no I/O. Its inputs are the clock's readings, replies and messages, its outputs are
// actions. The simulation (sim_test.go) runs it under a seeded scheduler with
// virtual time, against a model of the database and of objects.
package cluster

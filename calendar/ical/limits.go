package ical

// Limits bound what [Parse] accepts. A zero field stands for its default; a
// number below zero switches that limit off.
type Limits struct {
	Size       int // bytes of the whole input; default 10 MiB
	Line       int // bytes of one unfolded line, folding included; default 4 MiB
	Depth      int // components inside components; default 16, VCALENDAR counts as 1
	Properties int // lines that are no BEGIN or END; default 500,000
	Components int // default 100,000
}

func (l *Limits) withDefaults() Limits {
	var d Limits
	if l != nil {
		d = *l
	}
	def := func(v *int, n int) {
		switch {
		case *v == 0:
			*v = n
		case *v < 0:
			*v = int(^uint(0) >> 1)
		}
	}
	def(&d.Size, 10<<20)
	def(&d.Line, 4<<20)
	def(&d.Depth, 16)
	def(&d.Properties, 500_000)
	def(&d.Components, 100_000)
	return d
}

func over(what string, size, limit int) error {
	if size <= limit {
		return nil
	}
	return &LimitError{What: what, Limit: limit, Size: size}
}

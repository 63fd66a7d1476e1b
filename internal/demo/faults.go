package demo

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A stage is a part of a run: the time before the first turn, or a part of a turn. Stages follow each other.
type stage struct {
	turn int // from 1; 0: before the first turn
	part turnPart
}

// A turnPart is a part of a turn, as far as it matters for faults.
type turnPart int

const (
	reporting turnPart = iota // phase 1
	offering                  // phase 2, and the clearing of the market
	moving                    // phase 3, and all that comes afterwards
)

// stages returns the stages of a run.
func stages(turns int) []stage {
	all := []stage{{}}
	for turn := range turns {
		for _, part := range []turnPart{reporting, offering, moving} {
			all = append(all, stage{turn: turn + 1, part: part})
		}
	}
	return all
}

// after tells whether one stage comes after another one.
func (s stage) after(other stage) bool {
	return s.turn > other.turn || s.turn == other.turn && s.part > other.part
}

// A serverFault is that a server ends, and is started again.
type serverFault struct {
	stage   stage
	delay   time.Duration // after the beginning of the stage
	busy    bool          // then it waits until a turn's results make workers send a lot at once
	orderly bool          // it is stopped; otherwise it freezes, and is killed
	away    time.Duration // before it is started again
}

// serverFaults returns what happens to a server in a run. It is killed once. The broker is just when workers, having got
// the results of a turn, send most at once; PostgreSQL is while tokens move: what would be lost then is not repeated by
// anybody. In half of all runs, a server ends once more, at any time, in one way or the other. It is all decided by the
// seed.
func serverFaults(seed uint64, kind serverKind, turns int, pace pace) []serverFault {
	random := rand.New(rand.NewPCG(seed, serverStreams[kind]))
	moments := stages(turns)
	faults := make([]serverFault, 1+random.IntN(2))
	for i := range faults {
		f := &faults[i]
		f.stage = moments[random.IntN(len(moments))]
		if i == 0 {
			f.stage = stage{turn: 1 + random.IntN(turns), part: moving}
		}
		if f.busy = i == 0 && kind == brokerServer; f.busy {
			f.stage.part = offering // the results come at its end
		}
		f.delay = time.Duration(random.Int64N(int64(pace.length(f.stage))))
		if f.busy {
			f.delay = 0
		}
		f.away = time.Duration(random.Int64N(int64(2 * time.Second)))
		f.orderly = i > 0 && random.IntN(2) == 0
	}
	slices.SortStableFunc(faults, func(a, b serverFault) int {
		switch {
		case a.stage.after(b.stage):
			return 1
		case b.stage.after(a.stage):
			return -1
		default:
			return int(a.delay - b.delay)
		}
	})
	return faults
}

// What is left to chance is independent of each other.
var serverStreams = map[serverKind]uint64{postgresServer: 1, brokerServer: 2}

const killStream = 0

// length returns about how long something interesting happens in a stage.
func (p pace) length(s stage) time.Duration {
	const ofOthers = 2 * time.Second
	switch {
	case s.turn == 0 || s.part == moving:
		return ofOthers
	case s.part == reporting:
		return p.phase1
	default:
		return p.phase2 + time.Second // it takes a moment to clear the market
	}
}

// kills decides which process is killed next, and when. In each round, everybody is killed once.
type kills struct {
	random  *rand.Rand
	victims []string
	killed  int // of the victims, in this round
}

func newKills(seed uint64, victims []string) *kills {
	return &kills{random: rand.New(rand.NewPCG(seed, killStream)), victims: slices.Clone(victims)}
}

// next returns a process, and how long to wait before it is killed.
func (k *kills) next() (pause time.Duration, victim string) {
	const often, seldom = 200 * time.Millisecond, 2 * time.Second
	pause = often + time.Duration(k.random.Int64N(int64(seldom-often)))
	if k.killed %= len(k.victims); k.killed == 0 {
		k.random.Shuffle(len(k.victims), func(i, j int) { k.victims[i], k.victims[j] = k.victims[j], k.victims[i] })
	}
	k.killed++
	return pause, k.victims[k.killed-1]
}

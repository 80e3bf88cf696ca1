package suite

import "time"

// A size is how much of everything the rows do. The figures are only worth
// anything at [fullSize]; [smallSize] is for testing the harness.
type size struct {
	seed  uint64
	micro time.Duration // how long a loop is timed

	spikeMake  time.Duration // a make, in the spikes
	spikeShort time.Duration // a short hold
	spikeLong  time.Duration // a long hold

	zeroMake time.Duration // a make, in the row of zero-work acquires
	zeroOps  int

	deadMake  time.Duration // how long a make of the dead factory takes to fail
	deadWatch time.Duration // how long its makes are counted
	deadTold  time.Duration // until when all are to be told
	deadPause time.Duration // between two tries of one caller

	wakeRounds  int
	handoffOps  int
	handoffTime time.Duration // the hold, and the work after it
	fairFor     time.Duration
	stormFor    time.Duration

	profileFor time.Duration // how long a profile is taken
	profileOps int           // what is done between two looks at the clock

	scaleGoroutines int   // how many at most
	scaleHolds      []int // in microseconds

	watched  int           // leases that are held while they are watched
	watchFor time.Duration // for how long a page is looked at

	manyIdle   int // idle resources, where there are many
	sweepEvery time.Duration
	sweepFor   time.Duration

	speakers        int // who speak at once
	speakFor        time.Duration
	speechHandshake time.Duration
	speechTakes     time.Duration // until the server answers

	wsIdle      int // idle connections whose memory is found
	wsMany      int // idle connections, where there are many
	wsKeepAlive time.Duration
	wsSettle    time.Duration // until new connections are watched
	wsCloses    int           // connections that the server closes, one by one
	wsMass      int           // connections that it closes at once
	wsMassDials int           // dials that may run then
	wsHandshake time.Duration // what each of those takes at least
	wsRedial    time.Duration // up to how long they are put off
}

func fullSize() size {
	return size{
		seed: 1, micro: 300 * time.Millisecond,
		spikeMake: 150 * time.Millisecond, spikeShort: 2 * time.Millisecond, spikeLong: 2 * time.Second,
		zeroMake: 250 * time.Millisecond, zeroOps: 5000,
		deadMake: 100 * time.Millisecond, deadWatch: time.Second, deadTold: 5 * time.Second, deadPause: 10 * time.Millisecond,
		wakeRounds: 400_000,
		handoffOps: 800, handoffTime: 200 * time.Microsecond,
		fairFor: 2 * time.Second, stormFor: 3 * time.Second,
		profileFor: 10 * time.Second, profileOps: 5000,
		scaleGoroutines: 10_000, scaleHolds: []int{0, 10, 100, 1000, 10_000},
		watched: 10_000, watchFor: 3 * time.Second,
		manyIdle: 100_000, sweepEvery: 25 * time.Millisecond, sweepFor: 2 * time.Second,
		speakers: 100, speakFor: 2 * time.Second, speechHandshake: 50 * time.Millisecond, speechTakes: 10 * time.Millisecond,
		wsIdle: 2000, wsMany: 10_000, wsKeepAlive: 20 * time.Second,
		wsSettle: 100 * time.Millisecond, wsCloses: 200,
		wsMass: 200, wsMassDials: massDials, wsHandshake: 50 * time.Millisecond, wsRedial: 100 * time.Millisecond,
	}
}

func smallSize() size {
	return size{
		seed: 1, micro: time.Millisecond,
		spikeMake: 20 * time.Millisecond, spikeShort: time.Millisecond, spikeLong: 100 * time.Millisecond,
		zeroMake: 10 * time.Millisecond, zeroOps: 500,
		deadMake: 5 * time.Millisecond, deadWatch: 50 * time.Millisecond, deadTold: time.Second, deadPause: 5 * time.Millisecond,
		wakeRounds: 2000,
		handoffOps: 40, handoffTime: 200 * time.Microsecond,
		fairFor: 50 * time.Millisecond, stormFor: 100 * time.Millisecond,
		profileFor: 50 * time.Millisecond, profileOps: 100,
		scaleGoroutines: 10, scaleHolds: []int{0, 100},
		watched: 20, watchFor: 20 * time.Millisecond,
		manyIdle: 100, sweepEvery: 10 * time.Millisecond, sweepFor: 100 * time.Millisecond,
		speakers: 5, speakFor: 20 * time.Millisecond, speechHandshake: time.Millisecond, speechTakes: time.Millisecond,
		wsIdle: 10, wsMany: 50, wsKeepAlive: 100 * time.Millisecond,
		wsSettle: 10 * time.Millisecond, wsCloses: 5,
		wsMass: 10, wsMassDials: 4, wsHandshake: 5 * time.Millisecond, wsRedial: 5 * time.Millisecond,
	}
}

// Command scenes has the scenes that are explored. Built by itself it only says so: package
// explore builds it in the form that runs under the scheduler.
//
// It reads jobs from its standard input, as JSON, and writes the result of each. A search that takes long
// reports to the standard error each minute how far it is. With -list it lists the scenes: name, bound in
// go test, and what happens in them.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/respool/respool/internal/explore/sched"
)

// Job is a search, or a replay if Schedule is set.
type Job struct {
	Scene    string
	Options  sched.Options
	Schedule string
}

// Answer is what became of a Job.
type Answer struct {
	sched.Result
	Table string // of a failure
}

func main() {
	if time.Now().Year() != 2000 { // the virtual clock begins then
		fmt.Fprintln(os.Stderr, "scenes: this program runs under a scheduler; see the documentation of internal/explore")
		os.Exit(2)
	}
	if len(os.Args) > 1 && os.Args[1] == "-list" {
		for _, s := range scenes {
			fmt.Printf("%s\t%d\t%s\n", s.Name, s.Bound, s.Doc)
		}
		return
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var job Job
		err := in.Decode(&job)
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = run(job, out)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "scenes:", err)
			os.Exit(1)
		}
	}
}

// run does one job.
func run(job Job, out *json.Encoder) error {
	i := slices.IndexFunc(scenes, func(s sched.Scene) bool { return s.Name == job.Scene })
	if i < 0 {
		return fmt.Errorf("no scene is called %q", job.Scene)
	}
	a := Answer{Result: sched.Result{Scene: job.Scene, Bug: job.Options.Bug, Schedule: job.Schedule}}
	if job.Schedule == "" {
		job.Options.Progress = func(bound, schedules int, done float64) {
			fmt.Fprintf(os.Stderr, "%s: %d schedules with at most %d preemptions so far, %.0f %%\n", job.Scene, schedules, bound, 100*done)
		}
		a.Result = sched.Explore(scenes[i], job.Options)
	}
	if a.Schedule != "" {
		failure, steps, err := sched.Replay(scenes[i], a.Schedule, job.Options.Bug)
		if err != nil {
			return err
		}
		if job.Schedule == "" && failure != a.Failure {
			failure = fmt.Sprintf("%s (and in the replay: %s)", a.Failure, failure)
		}
		a.Failure, a.Table = failure, sched.Table(steps)
	}
	return out.Encode(a)
}

// scenes are all scenes.
var scenes = slices.Concat(wordScenes, poolScenes, permitScenes, budgetScenes, configScenes, keyedScenes, leaseScenes, muxScenes)

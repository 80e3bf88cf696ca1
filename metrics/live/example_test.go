package live_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/respool/respool/metrics"
	"github.com/respool/respool/metrics/live"
	"github.com/respool/respool/resource"
)

func ExampleHandler() {
	meter, err := metrics.New("sessions", metrics.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer meter.Close()
	pool, err := resource.New(resource.Config[int]{
		Make:    func(context.Context) (int, error) { return 1, nil },
		MaxSize: 8,
		Trace:   meter.Trace(nil),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // bounds Close, too, should a lease leak
	defer cancel()
	defer pool.Close(ctx)
	if err := meter.Watch(pool); err != nil {
		fmt.Println(err)
		return
	}
	if err := pool.Do(ctx, func(context.Context, int) error { return nil }); err != nil {
		fmt.Println(err)
	}

	mux := http.NewServeMux()
	page := live.Handler(live.Config{})
	mux.Handle("/debug/pools/", page) // for a browser
	srv := httptest.NewServer(mux)
	srv.Config.RegisterOnShutdown(page.Close)
	defer srv.Close()

	answer, err := http.Get(srv.URL + "/debug/pools/pool.json?pool=sessions") // for a script
	if err != nil {
		fmt.Println(err)
		return
	}
	defer answer.Body.Close()
	var got struct {
		Pool struct {
			Load     struct{ Max, Idle int }
			Counters struct{ Acquired, Made int }
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%+v\n", got.Pool)
	// Output: {Load:{Max:8 Idle:1} Counters:{Acquired:1 Made:1}}
}

package main

func Example() {
	main()
	// Output:
	// hello
	// hello
	// hello
	// 1 connection dialed
}

package wsconn

// AwaitOutside is Await for a read that does not enter gorilla yet, even if a message has
// begun, and whose context interrupts the wait at once; what has arrived already costs no
// context.AfterFunc, where Conn is a socket. It needs [FrameConn.HasRoom]. For the reader.
func (f *FrameConn) AwaitOutside() bool {
	w := f.Raw
	if w.hooks = w.socket != nil; !w.hooks {
		w.HookContext(false)
	}
	on := w.beginAwait()
	if on {
		f.fill()
		on = w.endAwait(false)
	}
	w.hooks = false
	return on
}

// WholePending reports whether the pending message has arrived to its end, so that gorilla
// reads it without blocking, or will not arrive any more. For the reader.
func (f *FrameConn) WholePending() bool {
	wholes, over := f.frames.Wholes()
	return wholes > f.taken || over || f.err != nil
}

// HasRoom reports whether more can be taken in ahead of gorilla. For the reader.
func (f *FrameConn) HasRoom() bool { return len(f.ahead) < aheadSize }

// Streams, and the events in them.

#include "gpu.h"

#include <algorithm>

struct Event {
    Stream *stream = nullptr;
    uint64_t number = 0;
};

static bool is_done(const Event &event) { return !event.stream || event.stream->done >= event.number; }

Stream *stream_of(void *stream) { return stream ? (Stream *)stream : &gpu.legacy; }

Result ask(void *stream, std::function<void()> work) {
    stream_of(stream)->waiting.push_back(std::move(work));
    stream_of(stream)->asked++;
    return SUCCESS;
}

void run_until(Stream *stream, uint64_t number) {
    while (stream->done < number && !stream->waiting.empty()) {
        auto work = std::move(stream->waiting.front());
        stream->waiting.pop_front();
        work();
        stream->done++;
    }
}

API Result cuStreamCreate(void **stream, unsigned) {
    NEEDS_CONTEXT;
    gpu.streams.push_back(new Stream);
    gpu.counts->streams++;
    return *stream = gpu.streams.back(), SUCCESS;
}
API Result cuStreamDestroy_v2(void *stream) {
    std::lock_guard<std::recursive_mutex> alone(gpu.lock);
    // What a lost GPU was asked for is never done.
    if (!gpu.lost) run_until((Stream *)stream, ((Stream *)stream)->asked);
    gpu.streams.erase(std::find(gpu.streams.begin(), gpu.streams.end(), (Stream *)stream));
    gpu.counts->streams--;
    return delete (Stream *)stream, SUCCESS;
}
API Result cuStreamSynchronize(void *stream) {
    NEEDS_CONTEXT;
    return run_until(stream_of(stream), stream_of(stream)->asked), SUCCESS;
}
API Result cuStreamWaitEvent(void *stream, void *event, unsigned) {
    NEEDS_CONTEXT;
    const Event of = *(Event *)event;
    return ask(stream, [of] {
        if (of.stream) run_until(of.stream, of.number);
    });
}

API Result cuEventCreate(void **event, unsigned) {
    NEEDS_CONTEXT;
    gpu.counts->events++;
    return *event = new Event, SUCCESS;
}
API Result cuEventDestroy_v2(void *event) {
    gpu.counts->events--;
    return delete (Event *)event, SUCCESS;
}
API Result cuEventRecord(void *event, void *stream) {
    NEEDS_CONTEXT;
    *(Event *)event = {stream_of(stream), stream_of(stream)->asked};
    return SUCCESS;
}
// A little is done whenever somebody looks.
API Result cuEventQuery(void *event) {
    NEEDS_CONTEXT;
    const Event of = *(Event *)event;
    if (is_done(of)) return SUCCESS;
    run_until(of.stream, of.stream->done + 1);
    return NOT_READY;
}
API Result cuEventSynchronize(void *event) {
    NEEDS_CONTEXT;
    const Event of = *(Event *)event;
    if (of.stream) run_until(of.stream, of.number);
    return SUCCESS;
}
API Result cuEventElapsedTime_v2(float *ms, void *from, void *to) {
    NEEDS_CONTEXT;
    if (!is_done(*(Event *)from) || !is_done(*(Event *)to)) return NOT_READY;
    return *ms = 1.0f, SUCCESS;
}
API Result cuEventElapsedTime(float *ms, void *from, void *to) { return cuEventElapsedTime_v2(ms, from, to); }

//! What a metric counts, in words. What is not here is described by its name and unit.

/// Names of counters, gauges, histograms and of the fields of clients, and what they are.
#[rustfmt::skip]
const WORDS: &[(&str, &str)] = &[
    ("messages", "Messages published, or delivered in order."),
    ("message_bytes", "Bytes of those messages."),
    ("pace_error", "How late packets left at a recorded pace."),
    ("line_packets", "Packets sent to or received from the line."),
    ("line_bytes", "Bytes of those packets."),
    ("line_refused", "Packets that the kernel did not take for the line; subscribers ask for them."),
    ("line_system_calls", "System calls that sent to the line."),
    ("line_segmentation_refused", "Sends that the kernel did not cut into packets, so that each was sent by itself."),
    ("line_first", "Messages of which this line brought the first copy."),
    ("line_missed", "Messages that this line did not bring, and the other line or an answer did."),
    ("line_late", "Messages that this line brought after they had been given up or filled by an answer."),
    ("line_heard_at", "When the line was last heard."),
    ("line_silent", "Whether nothing is heard on the line."),
    ("line_behind", "Messages by which the line is behind the other."),
    ("line_lead", "By how much the line was ahead of the other."),
    ("line_kernel_queue_bytes", "Bytes that wait in the kernel for the line, with its bookkeeping: twice receive_buffer_bytes are full."),
    ("line_kernel_drops", "Datagrams of the line that the kernel dropped, as it counts them itself."),
    ("line_socket_inode", "Inode of the line's socket."),
    ("request_kernel_queue_bytes", "Bytes that wait in the kernel at the request address, with its bookkeeping."),
    ("request_kernel_drops", "Datagrams that the kernel dropped at the request address."),
    ("request_socket_inode", "Inode of the socket at the request address."),
    ("request_buffer_bytes", "Receive buffer at the request address."),
    ("receive_buffer_bytes", "Receive buffer that the kernel granted."),
    ("next", "The next number: retained, or to be delivered."),
    ("oldest", "The oldest number that is retained."),
    ("highest", "One past the highest number that is known to exist."),
    ("lag_messages", "Messages that are known to exist and are not delivered."),
    ("lag_time", "For how long the next message has been missing or not been delivered."),
    ("open_gaps", "Gaps that are open."),
    ("gaps", "Gaps that were opened."),
    ("recovered", "Messages that filled a gap."),
    ("lost", "Messages that were given up."),
    ("lost_ranges", "Ranges of messages that were given up."),
    ("differing", "Messages whose bytes differ between the lines."),
    ("duplicates", "Messages that came again."),
    ("deferred", "Messages for which there was no room and that were asked for later."),
    ("requests", "Requests that were sent, or came."),
    ("retries", "Requests that were sent again."),
    ("retransmissions", "Packets that answer requests."),
    ("retransmitted_messages", "Messages in answers."),
    ("retransmitted_bytes", "Bytes of answers."),
    ("requests_overwritten", "Requests for messages that are no longer retained."),
    ("requests_refused", "Requests that were not answered."),
    ("recovery", "From the opening of a gap to its filling."),
    ("delivery", "From the kernel's receive time of a message to its delivery."),
    ("malformed", "Datagrams that are no packets."),
    ("foreign", "Packets of other sessions."),
    ("other_sources", "Datagrams of others than the source that may send."),
    ("kernel_drops", "Datagrams dropped by the kernel here, as seen when a gap opened."),
    ("socket_errors", "Errors of sockets."),
    ("caught_up", "Whether it has come to what is live."),
    ("heard", "Whether any line carries the session."),
    ("ended", "Whether the end of the session was delivered."),
    ("headroom_messages", "Messages by which the reader of a ring may still fall behind."),
    ("headroom_bytes", "Bytes by which the reader of a ring may still fall behind."),
    ("headroom_time", "Time by which the reader of a ring may still fall behind, at the present rate."),
    ("longest_cycle", "The longest duty cycle that had work."),
    ("retained_messages", "Messages that can be asked for."),
    ("retained_bytes", "Bytes of messages that can be asked for."),
    ("retained_time", "How far back can be asked for at the present rate; 0 while there is none."),
    ("ring_bytes", "Capacity of the retained ring."),
    ("heartbeats", "Heartbeats sent."),
    ("ends_of_session", "Ends of session sent."),
    ("sends_refused", "Answers and heartbeats that the kernel did not take."),
    ("clients", "Clients that are known."),
    ("client_last_heard", "When the client asked last."),
    ("client_requests", "Requests of the client."),
    ("client_retransmissions", "Packets that answer the client."),
    ("client_messages", "Messages in answers to the client."),
    ("client_overwritten", "Requests of the client for messages that are no longer retained."),
    ("client_bytes", "Bytes of answers to the client."),
    ("first", "The first number of the session that was delivered or given up."),
    ("impaired_datagrams", "Datagrams of paths that are impaired on purpose."),
    ("impaired_dropped", "Datagrams that were dropped on purpose."),
    ("impaired_duplicated", "Datagrams that were duplicated on purpose."),
    ("impaired_reordered", "Datagrams that were reordered on purpose."),
    ("impaired_delayed", "Datagrams that were delayed on purpose."),
    ("impaired_early", "Datagrams that were let through early because too many were held back on purpose."),
    ("output_time", "Time that writing the output took."),
    ("output_bytes", "Bytes written to the output."),
    ("output_slowest", "The longest that a write of the output took."),
];

/// What an entry of a file is.
pub(super) fn of(role: &str, name: &str) -> String {
    match WORDS.iter().find(|(known, _)| *known == name) {
        Some((_, words)) => (*words).to_owned(),
        None => format!("{} of a {role}.", name.replace('_', " ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_explained_twice_and_any_name_once() {
        for (index, (name, words)) in WORDS.iter().enumerate() {
            assert!(WORDS[..index].iter().all(|(other, _)| other != name), "{name}");
            assert!(words.ends_with('.'), "{name}");
        }
        assert_eq!(of("subscriber", "not_known_here"), "not known here of a subscriber.");
    }
}

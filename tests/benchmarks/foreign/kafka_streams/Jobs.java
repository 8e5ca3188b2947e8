import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import java.io.IOException;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorSupplier;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * The jobs as a user of Kafka Streams writes them: exactly once, one thread, RocksDB with a changelog.
 *
 * <p>{@code java -cp … Jobs dedupe|map}, with settings from STREAMAPP_*, as for a worker. Ends on SIGTERM.
 */
public final class Jobs {
    private static final String SEEN = "seen";

    /** Public fields: the quickest for Jackson without further modules. */
    @JsonInclude(JsonInclude.Include.NON_NULL)
    public static final class Order {
        public String order_id;
        public String customer;
        public String sku;
        public int quantity;
        public int unit_price_cents;
        public String placed_at;
        public String note;
        public Long total_cents;
    }

    /** Lets an order pass whose id its partition's store does not hold. */
    private static final class Dedupe implements FixedKeyProcessor<byte[], Order, Order> {
        private FixedKeyProcessorContext<byte[], Order> context;
        private KeyValueStore<String, Long> seen;

        @Override
        public void init(FixedKeyProcessorContext<byte[], Order> context) {
            this.context = context;
            this.seen = context.getStateStore(SEEN);
        }

        @Override
        public void process(FixedKeyRecord<byte[], Order> record) {
            // One look-up and one write: a user's putIfAbsent costs the same.
            if (seen.putIfAbsent(record.value().order_id, record.timestamp()) == null) {
                context.forward(record);
            }
        }
    }

    private static final class DedupeSupplier implements FixedKeyProcessorSupplier<byte[], Order, Order> {
        @Override
        public FixedKeyProcessor<byte[], Order, Order> get() {
            return new Dedupe();
        }

        @Override
        public Set<StoreBuilder<?>> stores() {
            return Set.of(
                Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(SEEN), Serdes.String(), Serdes.Long())
                    .withCachingEnabled() // as the DSL's own stores have it
                    .withLoggingEnabled(Map.of()));
        }
    }

    private static Serde<Order> json() {
        ObjectMapper mapper = new ObjectMapper().disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);
        ObjectReader reader = mapper.readerFor(Order.class);
        ObjectWriter writer = mapper.writerFor(Order.class);
        return Serdes.serdeFrom(
            (topic, order) -> {
                try {
                    return order == null ? null : writer.writeValueAsBytes(order);
                } catch (IOException cause) {
                    throw new SerializationException(cause);
                }
            },
            (topic, bytes) -> {
                try {
                    return bytes == null ? null : reader.readValue(bytes);
                } catch (IOException cause) {
                    throw new SerializationException(cause);
                }
            });
    }

    private static Order withTotal(Order order) {
        order.total_cents = (long) order.quantity * order.unit_price_cents;
        return order;
    }

    private static Properties settings() {
        Map<String, String> env = System.getenv();
        double interval = Double.parseDouble(env.getOrDefault("STREAMAPP_COMMIT_INTERVAL", "0.2"));
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, env.get("STREAMAPP_APP_ID"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, env.get("STREAMAPP_BROKER"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, env.get("STREAMAPP_DATA_DIR"));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, Math.round(interval * 1000));
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(StreamsConfig.producerPrefix("compression.type"), "lz4"); // this and the next as in the hand-written loop
        settings.put(StreamsConfig.producerPrefix("batch.size"), 1_000_000);
        return settings;
    }

    public static void main(String[] args) throws InterruptedException {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<byte[], Order> orders = builder.stream("orders", Consumed.with(Serdes.ByteArray(), json()));
        KStream<byte[], Order> results =
            switch (args[0]) {
                case "dedupe" -> orders.processValues(new DedupeSupplier());
                case "map" -> orders.mapValues(Jobs::withTotal);
                default -> throw new IllegalArgumentException("no such job: " + args[0]);
            };
        results.to("bench-out", Produced.with(Serdes.ByteArray(), json()));

        Properties settings = settings();
        System.out.println("Kafka Streams, " + args[0] + ": " + settings);
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        CountDownLatch ended = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            if (now.hasCompletedShutdown()) {
                ended.countDown();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(20))));
        streams.start();
        ended.await();
        System.exit(streams.state() == KafkaStreams.State.ERROR ? 1 : 0);
    }
}

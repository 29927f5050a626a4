# The inner loops of the norm kernels. Their pointers to void are to float or double; C picks the version by the first.

cdef extern from "norm_columns.h" nogil:
    enum: ACT, STREAM, HAT, LINEAR, SLOPE, TOTAL, DOT, GIVEN, MOST_RUNS

    union tile:
        pass
    struct moments:
        double mean, m2
    struct row_sums:
        pass
    struct column_sums:
        pass
    struct channels:
        tile mean, inv_std, gamma, beta, slope, from_dy, from_x, constant
    struct columns:
        Py_ssize_t width, repeat, inner
    struct gradients:
        double g, gx, slope
    struct row_gradients:
        double[16] g, gx, slope
    struct column_gradients:
        pass

    void merge_moments(double count, double* mean, double* m2, double more, const double* more_mean, const double* more_m2,
                       Py_ssize_t channels)
    void start_row_sums(const void* x, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t n, row_sums* s)
    void add_row_sums(const void* x, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t n, Py_ssize_t channels, row_sums* s)
    moments end_row_sums(const row_sums* s)
    void start_column_sums(const void* x, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t width, Py_ssize_t repeat,
                           Py_ssize_t inner, column_sums* s)
    void add_column_sums(const void* x, Py_ssize_t rows, Py_ssize_t stride, column_sums* s)
    void end_column_sums(const void* x, column_sums* s, double* mean, double* m2)

    void fill(const void* x, tile* to, const void* values, Py_ssize_t first, Py_ssize_t step, double otherwise, Py_ssize_t n)
    void set_backward(const void* x, channels* c, const void* inv_std, Py_ssize_t first, const double* g,
                      const double* g_x_hat, double share, Py_ssize_t n)
    void set_columns(const void* x, const channels* c, bint backward, columns* s)

    void apply_rows(const void* x, void* y, void* x_hat, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t n,
                    Py_ssize_t channels, Py_ssize_t ahead, const channels* c, int how)
    void add_row_gradients(const void* x, const void* dy, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t n,
                           Py_ssize_t channels, const channels* c, int how, row_gradients* s)
    void backward_rows(const void* x, const void* dy, void* dx, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t n,
                       Py_ssize_t channels, Py_ssize_t ahead, const channels* c, int how)
    gradients end_row_gradients(const row_gradients* s)

    void apply_columns(const void* x, void* y, void* x_hat, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t ahead,
                       const columns* c, int how)
    void add_column_gradients(const void* x, const void* dy, Py_ssize_t rows, Py_ssize_t stride, const columns* c, int how,
                              column_gradients* s)
    void backward_columns(const void* x, const void* dy, void* dx, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t ahead,
                          const columns* c, int how)
    void start_column_gradients(const columns* c, column_gradients* s)
    void end_column_gradients(const columns* c, column_gradients* s, double* g, double* gx, double* slope)
